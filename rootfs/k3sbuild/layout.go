package k3sbuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Folders of a program's module that hold what changes in other modules.
const (
	patchesDir = "patches"
	stubsDir   = "stubs"
)

// tree is a program's module with its changed modules beside it:
//
//	src/         copy of the program's module, go.mod with replace lines
//	mod/PATH     the changed modules
//	overlay.json changed files of the standard library, if there are any
type tree struct {
	src     string
	overlay string // path of overlay.json, or ""
}

// layOut makes p's tree below the folder work.
func layOut(ctx context.Context, p program, work string) (tree, error) {
	t := tree{src: filepath.Join(work, "src")}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return t, err
	}
	if err := copySource(t.src, p.dir); err != nil {
		return t, fmt.Errorf("copy %s: %w", p.dir, err)
	}
	var errs []error // of all modules: who moves to a new version wants the whole list
	for _, m := range p.modules {
		errs = append(errs, t.addModule(ctx, p, m, work))
	}
	var err error
	t.overlay, err = overlayStd(ctx, filepath.Join(p.dir, patchesDir, stdDir), work)
	return t, errors.Join(append(errs, err)...)
}

// addModule lays a changed module out and names it in the tree's go.mod.
func (t tree) addModule(ctx context.Context, p program, m module, work string) error {
	where, err := locate(ctx, t.src, m.path)
	if err != nil {
		return err
	}
	to := filepath.Join(work, "mod", filepath.FromSlash(m.path))
	if err := m.layOut(ctx, p, where, to); err != nil {
		return err
	}
	rel, err := filepath.Rel(t.src, to)
	if err != nil {
		return err
	}
	_, err = runGo(ctx, t.src, nil, "mod", "edit", fmt.Sprintf("-replace=%s=%s", m.path, filepath.ToSlash(rel)))
	return err
}

// location is where the module cache has a module.
type location struct {
	Path, Version, Dir string
	Replace            *location
}

// actual is the location after replace lines.
func (l location) actual() location {
	if l.Replace != nil {
		return *l.Replace
	}
	return l
}

// locate finds a module that the module in dir requires, downloading it first
// when the module cache has it not.
func locate(ctx context.Context, dir, path string) (location, error) {
	var l location
	for _, args := range [][]string{{"mod", "download", path}, {"list", "-m", "-json", path}} {
		out, err := runGo(ctx, dir, nil, args...)
		if err != nil {
			return l, err
		}
		if args[0] == "list" {
			if err := json.Unmarshal(out, &l); err != nil {
				return l, fmt.Errorf("read where module %s is: %w", path, err)
			}
		}
	}
	if l.actual().Dir == "" {
		return l, fmt.Errorf("module %s is not in the module cache", path)
	}
	return l, nil
}

// layOut copies the module from the module cache to a folder and changes it.
func (m module) layOut(ctx context.Context, p program, from location, to string) error {
	a := from.actual()
	if err := copyTree(to, a.Dir, nil); err != nil {
		return fmt.Errorf("copy module %s@%s: %w", a.Path, a.Version, err)
	}
	if err := m.removeFrom(to); err != nil {
		return fmt.Errorf("module %s@%s: %w", a.Path, a.Version, err)
	}
	stubs := filepath.Join(p.dir, stubsDir, filepath.FromSlash(m.path))
	if err := copyTree(to, stubs, nil); err != nil {
		return fmt.Errorf("lay stubs over module %s: %w", m.path, err)
	}
	for dir, name := range m.importable {
		if err := makeImportable(filepath.Join(to, dir), name); err != nil {
			return fmt.Errorf("make %s of module %s@%s importable: %w", dir, a.Path, a.Version, err)
		}
	}
	patches := filepath.Join(p.dir, patchesDir, filepath.FromSlash(m.path))
	if err := applyPatches(ctx, to, patches); err != nil {
		return fmt.Errorf("module %s@%s: %w", a.Path, a.Version, err)
	}
	return nil
}

// removeFrom removes what the module's globs name.
func (m module) removeFrom(dir string) error {
	for _, glob := range m.remove {
		paths, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(glob)))
		if err != nil {
			return err
		}
		if len(paths) == 0 {
			return fmt.Errorf("nothing matches %s, which the build removes: adapt rootfs/k3sbuild/modules.go", glob)
		}
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// copySource copies a program's own module without modules inside of it and
// without what is not compiled.
func copySource(to, from string) error {
	return copyTree(to, from, func(rel string) bool {
		return rel == patchesDir || rel == stubsDir || isModule(filepath.Join(from, rel))
	})
}

// copyTree copies the regular files below from, which need not exist, to the
// same relative places below to. skip says which files and folders not to copy.
func copyTree(to, from string, skip func(rel string) bool) error {
	if _, err := os.Stat(from); os.IsNotExist(err) {
		return nil
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case rel != "." && skip != nil && skip(rel):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), content, 0o644)
	})
}
