package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/debian"
)

// tinyConfigs are the kernel's own files that define its tiny configuration;
// the last is per architecture and may be absent.
var tinyConfigs = []string{"kernel/configs/tiny-base.config", "kernel/configs/tiny.config", "arch/%s/configs/tiny.config"}

// configure resolves the configuration and verifies it.
func (s *source) configure(ctx context.Context) (string, error) {
	key := s.key("kernel-config", 1).Add("asked", s.asked.text())
	dir, err := cache.Do(ctx, key, func(ctx context.Context, dir string) error {
		return s.withTree(ctx, func(tree string) error {
			config, err := s.resolve(ctx, tree)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, configFile), []byte(config), 0o644)
		})
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, configFile), nil
}

// resolve runs kconfig in tree and returns the verified configuration.
func (s *source) resolve(ctx context.Context, tree string) (string, error) {
	var all strings.Builder
	for _, name := range tinyConfigs {
		if strings.Contains(name, "%s") {
			name = fmt.Sprintf(name, arches[s.spec.Arch].dir)
		}
		b, err := os.ReadFile(filepath.Join(tree, name))
		if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(name, "arch/") {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read the kernel's tiny configuration: %w", err)
		}
		all.Write(b)
	}
	all.WriteString(s.asked.text())
	asked := filepath.Join(tree, ".asked.config")
	if err := os.WriteFile(asked, []byte(all.String()), 0o644); err != nil {
		return "", err
	}
	if err := s.make(ctx, tree, "KCONFIG_ALLCONFIG="+asked, "allnoconfig"); err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(tree, ".config"))
	if err != nil {
		return "", err
	}
	return string(b), verify(s.asked, string(b))
}

// compile builds the image with the resolved configuration at path config.
func (s *source) compile(ctx context.Context, config string) (string, error) {
	key := s.key("kernel", 1)
	if err := key.AddFile("config", config); err != nil {
		return "", err
	}
	return cache.Do(ctx, key, func(ctx context.Context, dir string) error {
		slog.Info("building the kernel; this takes some minutes", "version", s.pkg.Version, "arch", s.spec.Arch)
		return s.withTree(ctx, func(tree string) error {
			if err := copyFile(config, filepath.Join(tree, ".config")); err != nil {
				return err
			}
			jobs := fmt.Sprintf("-j%d", runtime.NumCPU())
			targets := append([]string{jobs, s.spec.Target}, s.spec.DeviceTrees...)
			if err := s.make(ctx, tree, targets...); err != nil {
				return err
			}
			if err := s.copyTrees(tree, filepath.Join(dir, treeDir)); err != nil {
				return err
			}
			if err := copyFile(config, filepath.Join(dir, configFile)); err != nil {
				return err
			}
			return copyFile(filepath.Join(tree, s.spec.Image), filepath.Join(dir, imageFile))
		})
	})
}

// copyTrees copies the device trees to dir.
func (s *source) copyTrees(tree, dir string) error {
	if len(s.spec.DeviceTrees) == 0 {
		return nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, name := range s.spec.DeviceTrees {
		from := filepath.Join(tree, "arch", arches[s.spec.Arch].dir, "boot/dts", name)
		if err := copyFile(from, filepath.Join(dir, filepath.Base(name))); err != nil {
			return fmt.Errorf("device tree %s: %w", name, err)
		}
	}
	return nil
}

// key starts a cache key with what every step depends on.
func (s *source) key(name string, version int) *cache.Key {
	key := cache.NewKey(name, version)
	for i, p := range s.patches {
		key.Add("patch "+s.spec.Patches[i], string(p))
	}
	for _, t := range s.spec.DeviceTrees {
		key.Add("device tree", t)
	}
	return key.
		Add("source", s.pkg.Files[0].SHA256).
		Add("arch", s.spec.Arch).
		Add("target", s.spec.Target).
		Add("image", s.spec.Image).
		Add("compiler", s.compiler)
}

// withTree calls use with a fresh copy of the kernel's source.
func (s *source) withTree(ctx context.Context, use func(tree string) error) (err error) {
	member := filepath.Join("usr/src", s.spec.Source+".tar.xz")
	archive, err := debian.Extract(ctx, s.deb, member)
	if err != nil {
		return err
	}
	root, err := cache.Dir()
	if err != nil {
		return err
	}
	tree, err := os.MkdirTemp(root, "kernel-tree.tmp")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tree)) }()
	out, err := exec.CommandContext(ctx, "tar", "-xJf", archive, "-C", tree, "--strip-components=1", "--no-same-owner").CombinedOutput()
	if err != nil {
		return fmt.Errorf("unpack the kernel source: tar: %w: %s", err, strings.TrimSpace(string(out)))
	}
	for i, diff := range s.patches {
		cmd := exec.CommandContext(ctx, "patch", "--strip=1", "--fuzz=0", "--force", "--silent", "--directory="+tree)
		cmd.Stdin = bytes.NewReader(diff)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apply %s to the kernel source: patch: %w: %s", s.spec.Patches[i], err, strings.TrimSpace(string(out)))
		}
	}
	return use(tree)
}

// make runs make in tree with an environment that leaves no trace of the
// machine, the time or the directory in what it builds.
func (s *source) make(ctx context.Context, tree string, args ...string) error {
	st, err := os.Stat(filepath.Join(tree, "MAINTAINERS"))
	if err != nil {
		return fmt.Errorf("the kernel source is incomplete: %w", err)
	}
	cmd := exec.CommandContext(ctx, "make", append([]string{"-s", "ARCH=" + arches[s.spec.Arch].kbuild}, args...)...)
	cmd.Dir = tree
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + tree,
		"LC_ALL=C",
		"TZ=UTC",
		"CROSS_COMPILE=" + crossPrefix(s.spec.Arch),
		"KBUILD_BUILD_TIMESTAMP=" + st.ModTime().UTC().Format("2006-01-02 15:04:05 UTC"),
		"KBUILD_BUILD_USER=mycelium",
		"KBUILD_BUILD_HOST=mycelium",
		"KBUILD_BUILD_VERSION=1",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("make %s in the kernel source: %w\n%s\n(host tools missing? `make deps` installs them)",
			strings.Join(args, " "), err, tail(string(out), 40))
	}
	return nil
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

// compilerVersion names the compiler and linker for arch, because their
// version decides on the bytes.
func compilerVersion(ctx context.Context, arch string) (string, error) {
	var versions []string
	for _, tool := range []string{"gcc", "ld"} {
		name := crossPrefix(arch) + tool
		out, err := exec.CommandContext(ctx, name, "--version").Output()
		if err != nil {
			return "", fmt.Errorf("ask %s for its version (`make deps` installs it): %w", name, err)
		}
		first, _, _ := strings.Cut(string(out), "\n")
		versions = append(versions, first)
	}
	return strings.Join(versions, "; "), nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
