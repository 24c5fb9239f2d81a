package debian

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestRepositoryLock reads the lock file that the build uses.
func TestRepositoryLock(t *testing.T) {
	l, err := Load("lock.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range l.Packages {
		if p.Version == "" || len(p.Files) == 0 {
			t.Errorf("package %s is not pinned", p)
		}
	}
	if _, err := l.Find("linux-source-6.12", "arm64"); err != nil {
		t.Errorf("a package for all architectures serves each: %v", err)
	}
}

func TestParseLockRefuses(t *testing.T) {
	sum := strings.Repeat("0", 64)
	pkg := func(extra string) string {
		return `{"name":"a","arch":"amd64","suite":"s","component":"main"` + extra + `}`
	}
	for name, text := range map[string]string{
		"unknown field": `{"packages":[` + pkg(`,"colour":"red"`) + `]}`,
		"no suite":      `{"packages":[{"name":"a","arch":"amd64","component":"main"}]}`,
		"twice":         `{"packages":[` + pkg("") + "," + pkg("") + `]}`,
		"short hash":    `{"packages":[` + pkg(`,"files":[{"path":"p","size":1,"sha256":"00"}]`) + `]}`,
		"path upwards":  `{"packages":[` + pkg(`,"files":[{"path":"../p","size":1,"sha256":"`+sum+`"}]`) + `]}`,
		"no size":       `{"packages":[` + pkg(`,"files":[{"path":"p","sha256":"`+sum+`"}]`) + `]}`,
		"not JSON":      `packages:`,
	} {
		if _, err := parseLock([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFindUnknown(t *testing.T) {
	_, err := (&Lock{}).Find("nothing", "amd64")
	if !errors.Is(err, ErrNotLocked) {
		t.Errorf("got %v, want ErrNotLocked", err)
	}
}

func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock.json")
	l := &Lock{Packages: []Package{{
		Name: "a", Arch: "all", Suite: "s", Component: "main", Version: "1",
		Files: []File{{Path: "pool/a.deb", Size: 3, SHA256: strings.Repeat("0", 64)}},
	}}}
	if err := l.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Packages[0].Files[0] != l.Packages[0].Files[0] {
		t.Errorf("got %+v, want %+v", got.Packages, l.Packages)
	}
}
