package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/image/cache"
)

// repo is an archive in a directory, with one suite "test" and a component main.
type repo struct {
	t   *testing.T
	dir string
}

func newRepo(t *testing.T) repo {
	t.Helper()
	t.Setenv("MYCELIUM_CACHE", t.TempDir())
	return repo{t: t, dir: t.TempDir()}
}

// add builds a package with dpkg-deb and returns its entry for a lock file.
func (r repo) add(name, version string) Package {
	r.t.Helper()
	tree := r.t.TempDir()
	write(r.t, filepath.Join(tree, "DEBIAN/control"), fmt.Sprintf(
		"Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: nobody <n@example.org>\nDescription: test\n", name, version,
	))
	write(r.t, filepath.Join(tree, "usr/share", name), version)
	rel := fmt.Sprintf("pool/main/%s_%s_amd64.deb", name, version)
	deb := filepath.Join(r.dir, rel)
	if err := os.MkdirAll(filepath.Dir(deb), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "--build", tree, deb).CombinedOutput(); err != nil {
		r.t.Fatalf("dpkg-deb: %v: %s", err, out)
	}
	st, err := os.Stat(deb)
	if err != nil {
		r.t.Fatal(err)
	}
	sum, err := cache.SumFile(deb)
	if err != nil {
		r.t.Fatal(err)
	}
	return Package{
		Name: name, Arch: "amd64", Suite: "test", Component: "main", Version: version,
		Files: []File{{Path: rel, Size: st.Size(), SHA256: sum}},
	}
}

// index writes the suite's Packages and Release files for pkgs.
func (r repo) index(pkgs ...Package) {
	r.t.Helper()
	var b bytes.Buffer
	for _, p := range pkgs {
		fmt.Fprintf(&b, "Package: %s\nVersion: %s\nArchitecture: %s\nFilename: %s\nSize: %d\nSHA256: %s\n\n",
			p.Name, p.Version, p.Arch, p.Files[0].Path, p.Files[0].Size, p.Files[0].SHA256)
	}
	index := filepath.Join(r.dir, "dists/test/main/binary-amd64/Packages")
	write(r.t, index, b.String())
	sum, err := cache.SumFile(index)
	if err != nil {
		r.t.Fatal(err)
	}
	write(r.t, filepath.Join(r.dir, "dists/test/Release"), fmt.Sprintf(
		"Origin: Debian\nSuite: test\nCodename: test\nArchitectures: amd64\nComponents: main\n"+
			"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n %s %d main/binary-amd64/Packages\n", sum, b.Len(),
	))
}

// lock returns a lock whose archive is the repository.
func (r repo) lock(pkgs ...Package) *Lock {
	return &Lock{Packages: pkgs, fetcher: fetcher{findArchive: func(context.Context) (Archive, error) {
		return Archive{Main: "copy:" + r.dir, options: "trusted=yes"}, nil
	}}}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFetchThenOffline(t *testing.T) {
	r := newRepo(t)
	p := r.add("tool", "1")
	l := r.lock(p)
	deb, got, err := l.Fetch(t.Context(), "tool", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != "1" {
		t.Errorf("version %q, want 1", got.Version)
	}
	file, err := Extract(t.Context(), deb, "usr/share/tool")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "1" {
		t.Errorf("extracted %q, %v", b, err)
	}
	if _, err := Extract(t.Context(), deb, "usr/share/other"); !errors.Is(err, ErrNoMember) {
		t.Errorf("missing member: got %v, want ErrNoMember", err)
	}
	if _, err := Extract(t.Context(), deb, "../etc/passwd"); err == nil {
		t.Error("member outside of the package: no error")
	}
	l.fetcher.download = func(context.Context, string, string) error { return errors.New("offline") }
	again, _, err := l.Fetch(t.Context(), "tool", "amd64")
	if err != nil || again != deb {
		t.Errorf("offline: got %q, %v, want %q", again, err, deb)
	}
}

func TestFetchRefusesWrongContent(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"flipped":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"longer":    func(b []byte) []byte { return append(b, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			p := r.add("tool", "1")
			file := filepath.Join(r.dir, p.Files[0].Path)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, file, string(damage(b)))
			l := r.lock(p)
			if _, _, err := l.Fetch(t.Context(), "tool", "amd64"); err == nil {
				t.Fatal("no error")
			}
		})
	}
}

func TestFetchNoticesDamagedCache(t *testing.T) {
	r := newRepo(t)
	l := r.lock(r.add("tool", "1"))
	deb, _, err := l.Fetch(t.Context(), "tool", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(deb, 10); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Fetch(t.Context(), "tool", "amd64"); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v, want a word on the damaged cache", err)
	}
}

func TestFetchOfVanishedVersionNamesBump(t *testing.T) {
	r := newRepo(t)
	p := r.add("tool", "1")
	if err := os.Remove(filepath.Join(r.dir, p.Files[0].Path)); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.lock(p).Fetch(t.Context(), "tool", "amd64")
	if err == nil || !strings.Contains(err.Error(), "make bump-prereqs PACKAGES=tool") {
		t.Errorf("got %v, want the command that helps", err)
	}
}

func TestExtractTruncated(t *testing.T) {
	r := newRepo(t)
	p := r.add("tool", "1")
	b, err := os.ReadFile(filepath.Join(r.dir, p.Files[0].Path))
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short.deb")
	write(t, short, string(b[:len(b)-100]))
	if _, err := ExtractDir(t.Context(), short); err == nil {
		t.Error("a truncated package: no error")
	}
}

func TestBump(t *testing.T) {
	r := newRepo(t)
	r.index(r.add("tool", "9"), r.add("tool", "10~rc1"), r.add("other", "77"))
	l := r.lock(Package{Name: "tool", Arch: "amd64", Suite: "test", Component: "main"})
	changes, err := l.Bump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := "tool/amd64 (test): (none) -> 10~rc1"; len(changes) != 1 || changes[0] != want {
		t.Errorf("changes %q, want %q", changes, want)
	}
	if _, _, err := l.Fetch(t.Context(), "tool", "amd64"); err != nil {
		t.Errorf("fetch what was pinned: %v", err)
	}
	r.index(r.add("tool", "10"))
	if changes, err = l.Bump(t.Context(), "tool"); err != nil || len(changes) != 1 {
		t.Errorf("second bump: %q, %v", changes, err)
	}
	if _, err := l.Bump(t.Context(), "unknown"); !errors.Is(err, ErrNotLocked) {
		t.Errorf("unknown package: got %v, want ErrNotLocked", err)
	}
	l.Packages[0].Name = "absent"
	if _, err := l.Bump(t.Context()); err == nil {
		t.Error("a package that the archive lacks: no error")
	}
}
