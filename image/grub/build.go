package grub

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/debian"
)

// modules are what the scripts use; grub-mkimage adds what these need.
var modules = []string{
	"biosdisk", "part_gpt", "fat", // disks
	"memdisk", "tar", "normal", "configfile", // the script
	"test", "echo", "sleep", "reboot", "regexp", "probe", "loadenv",
	"loopback", "linux", // the OS file
	"serial", "terminal",
}

// libraries are the packages, of GRUB's suite, that the tool runs with: the building
// machine's own may be too old.
var libraries = []string{"libc6", "liblzma5", "libdevmapper1.02.1", "libselinux1", "libudev1", "libpcre2-8-0", "libcap2"}

const (
	coreFile = "core.img"
	bootFile = "boot.img"
	// toolArch is the architecture that the tool is fetched for.
	toolArch = "amd64"
	// triplet and linker are where its libraries are.
	triplet = "usr/lib/x86_64-linux-gnu"
	linker  = triplet + "/ld-linux-x86-64.so.2"
)

// Build returns the core image and, beside it, the boot code for a board that starts by
// BIOS; [Read] takes the core image's path. Results are kept in the build cache.
func Build(ctx context.Context, repoRoot string, b *board.Board) (component.Component, error) {
	c := component.Component{Name: "grub", License: "GPL-3.0-or-later", Path: "bios"}
	t, pkg, err := prepare(ctx, repoRoot, b)
	if err != nil {
		return c, err
	}
	c.Version, c.Source = pkg.Version, pkg.PURL()
	dir, err := cache.Do(ctx, t.key, t.run)
	c.File = filepath.Join(dir, coreFile)
	return c, err
}

// prepare fetches what the tool needs. The package is GRUB's.
func prepare(ctx context.Context, repoRoot string, b *board.Board) (tool, debian.Package, error) {
	bios := b.Firmware.BIOS
	if bios == nil {
		return tool{}, debian.Package{}, fmt.Errorf("board %s does not start by BIOS", b.Name)
	}
	if runtime.GOARCH != toolArch {
		return tool{}, debian.Package{}, fmt.Errorf("the tool that puts GRUB together runs on %s machines alone: build the images of board %s there", toolArch, b.Name)
	}
	lock, err := debian.Load(filepath.Join(repoRoot, debian.LockPath))
	if err != nil {
		return tool{}, debian.Package{}, err
	}
	t := tool{script: Script(b), prefix: prefix(b)}
	t.key = cache.NewKey("grub", 2).Add("script", t.script).Add("prefix", t.prefix).Add("modules", strings.Join(modules, " "))
	packages := map[string]debian.Package{}
	dirs := map[string]string{}
	for _, name := range append([]string{bios.Modules.Package, bios.Tool.Package}, libraries...) {
		deb, pkg, err := lock.Fetch(ctx, name, toolArch)
		if err != nil {
			return t, pkg, err
		}
		t.key.Add(name, pkg.Files[0].SHA256)
		packages[name] = pkg
		if dirs[name], err = debian.ExtractDir(ctx, deb); err != nil {
			return t, pkg, err
		}
	}
	pkg, toolPkg := packages[bios.Modules.Package], packages[bios.Tool.Package]
	if toolPkg.Version != pkg.Version {
		return t, pkg, fmt.Errorf("%s is %s and %s is %s: pin the same version of both", pkg.Name, pkg.Version, toolPkg.Name, toolPkg.Version)
	}
	t.modules = filepath.Join(dirs[pkg.Name], bios.Modules.Path)
	t.program = filepath.Join(dirs[toolPkg.Name], bios.Tool.Path)
	for _, name := range libraries {
		t.libraries = append(t.libraries, dirs[name])
	}
	return t, pkg, nil
}

// tool is one run of grub-mkimage.
type tool struct {
	key              *cache.Key
	program, modules string
	libraries        []string
	script, prefix   string
}

// run leaves the core image and the boot code in dir.
func (t tool) run(ctx context.Context, dir string) (err error) {
	work, err := os.MkdirTemp("", "mycelium-grub")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	memdisk, err := archive(scriptName, t.script)
	if err != nil {
		return err
	}
	early := filepath.Join(work, "early.cfg")
	disk := filepath.Join(work, "memdisk.tar")
	// What is run before the normal mode knows no conditions.
	err = errors.Join(os.WriteFile(disk, memdisk, 0o600),
		os.WriteFile(early, []byte("normal (memdisk)/"+scriptName+"\n"), 0o600))
	if err != nil {
		return err
	}
	var paths []string
	for _, l := range t.libraries {
		paths = append(paths, filepath.Join(l, triplet))
	}
	args := append([]string{
		"--library-path", strings.Join(paths, ":"), t.program,
		"--format", "i386-pc", "--directory", t.modules, "--config", early,
		"--memdisk", disk, "--prefix", t.prefix, // in this order: --memdisk sets another prefix
		"--output", filepath.Join(dir, coreFile),
	}, modules...)
	cmd := exec.CommandContext(ctx, filepath.Join(t.libraries[0], linker), args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("put GRUB's core image together: grub-mkimage: %w: %s", err, strings.TrimSpace(string(out)))
	}
	boot, err := os.ReadFile(filepath.Join(t.modules, bootFile))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, bootFile), boot, 0o644)
}

// archive returns a tar archive of one file.
func archive(name, content string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatUSTAR})
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}
