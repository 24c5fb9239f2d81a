package k3sbuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// stdDir is the folder of patchesDir for the standard library; its patches
// are relative to GOROOT.
const stdDir = "std"

// applyPatches applies NAME.patch files of a folder, which need not exist, to
// the files below dir in the order of their names.
func applyPatches(ctx context.Context, dir, patches string) error {
	files, err := filepath.Glob(filepath.Join(patches, "*.patch"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	var errs []error // all of them: who moves to a new version wants the whole list
	for _, f := range files {
		errs = append(errs, applyPatch(ctx, dir, f))
	}
	return errors.Join(errs...)
}

// applyPatch runs patch(1) without fuzz: a patch whose surroundings changed
// must be looked at by a person.
func applyPatch(ctx context.Context, dir, file string) error {
	cmd := exec.CommandContext(ctx, "patch", "-p1", "--forward", "--fuzz=0", "--no-backup-if-mismatch",
		"--reject-file=-", "-d", dir, "-i", file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("patch %s does not apply (%w): %s", filepath.Base(file), err, bytes.TrimSpace(out))
	}
	return nil
}

var (
	packageMain = regexp.MustCompile(`(?m)^package main(_test)?\b`)
	funcMain    = regexp.MustCompile(`(?m)^func main\(\) \{`)
)

// makeImportable turns the main package in dir into package name.
func makeImportable(dir, name string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	found := false
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		found = found || funcMain.Match(content)
		content = packageMain.ReplaceAll(content, []byte("package "+name+"${1}"))
		content = funcMain.ReplaceAll(content, []byte("// Main is the program.\nfunc Main() {"))
		if err := os.WriteFile(f, content, 0o644); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("no func main")
	}
	return nil
}

// overlayStd applies the patches of a folder to copies of the files of GOROOT
// that they name, below work, and returns the path of a file for "go build
// -overlay", or "" when there are no patches.
func overlayStd(ctx context.Context, patches, work string) (string, error) {
	files, err := filepath.Glob(filepath.Join(patches, "*.patch"))
	if err != nil || len(files) == 0 {
		return "", err
	}
	out, err := runGo(ctx, work, nil, "env", "GOROOT")
	if err != nil {
		return "", err
	}
	goroot, std := string(bytes.TrimSpace(out)), filepath.Join(work, stdDir)
	replace := make(map[string]string)
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		for _, rel := range patchedFiles(string(content)) {
			from, to := filepath.Join(goroot, rel), filepath.Join(std, rel)
			replace[from] = to
			if err := copyFile(to, from); err != nil {
				return "", err
			}
		}
	}
	if err := applyPatches(ctx, std, patches); err != nil {
		return "", fmt.Errorf("standard library in %s: %w", goroot, err)
	}
	spec, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(work, "overlay.json")
	return path, os.WriteFile(path, spec, 0o644)
}

// patchedFiles returns the paths of the "+++ b/PATH" lines of a patch.
func patchedFiles(patch string) []string {
	var paths []string
	for line := range strings.Lines(patch) {
		if rest, ok := strings.CutPrefix(line, "+++ b/"); ok {
			path, _, _ := strings.Cut(strings.TrimSpace(rest), "\t")
			paths = append(paths, filepath.FromSlash(path))
		}
	}
	return paths
}

func copyFile(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}
