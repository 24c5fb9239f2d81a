package sbom

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/image/component"
)

func sample() Image {
	sum := strings.Repeat("0a", 32)
	mod := Module{Path: "golang.org/x/sys", Version: "v0.48.0", SHA256: sum, License: "BSD-3-Clause"}
	return Image{
		Board: "qemu-amd64", Version: "1.2.3-dirty", SHA256: sum, Size: 1000,
		Created: time.Unix(1_700_000_000, 0), Tools: []string{"mksquashfs-4.5.1", "gcc-12"},
		Components: []component.Component{
			{
				Name: "linux", Version: "6.12.107-1", Source: "pkg:deb/debian/linux-source-6.12@6.12.107-1?arch=all",
				SHA256: sum, License: "GPL-2.0-only WITH Linux-syscall-note", Path: "kernel", RawSize: 400, CompressedSize: 400,
			},
			{
				Name: "k3s", Version: "v1.35.1", Source: "pkg:golang/github.com/k3s-io/k3s@v1.35.1",
				SHA256: sum, License: "Apache-2.0", Path: "/bin/k3s", RawSize: 2000, CompressedSize: 500,
			},
		},
		Modules: map[string][]Module{"k3s": {mod}, "linux": {mod}},
	}
}

func TestRoundTrip(t *testing.T) {
	m := sample()
	b, err := Write(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(b)
	if err != nil {
		t.Fatal(err)
	}
	want := Summary{Board: m.Board, Version: m.Version, SHA256: m.SHA256, Size: m.Size, Components: m.Components}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
	again, err := Write(sample())
	if err != nil || !bytes.Equal(b, again) {
		t.Error("two documents of one image differ")
	}
	m.Size++
	if other, err := Write(m); err != nil || namespace(t, other) == namespace(t, b) {
		t.Error("documents with different content share a namespace")
	}
}

func namespace(t *testing.T, b []byte) string {
	t.Helper()
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d.DocumentNamespace
}

// TestValid holds a document against the rules of the SPDX 2.3 JSON schema
// that a writer can break.
func TestValid(t *testing.T) {
	b, err := Write(sample())
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse("2006-01-02T15:04:05Z", d.CreationInfo.Created); err != nil {
		t.Errorf("created: %v", err)
	}
	id := regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`)
	seen := map[string]bool{documentID: true}
	for _, p := range d.Packages {
		if !id.MatchString(p.SPDXID) || seen[p.SPDXID] {
			t.Errorf("package %s: identifier %q is malformed or used twice", p.Name, p.SPDXID)
		}
		seen[p.SPDXID] = true
		if p.DownloadLocation == "" || p.LicenseDeclared == "" || p.VersionInfo == "" {
			t.Errorf("package %s: %+v", p.Name, p)
		}
	}
	for _, r := range d.Relationships {
		if !seen[r.Element] || !seen[r.Related] {
			t.Errorf("relationship %+v names an unknown element", r)
		}
	}
	if n := strings.Count(string(b), `"golang.org/x/sys"`); n != 1 {
		t.Errorf("a module of two components stands %d times", n)
	}
}

func TestWriteErrors(t *testing.T) {
	for name, change := range map[string]func(*component.Component){
		"no licence":   func(c *component.Component) { c.License = "" },
		"no version":   func(c *component.Component) { c.Version = "" },
		"no source":    func(c *component.Component) { c.Source = "" },
		"bad checksum": func(c *component.Component) { c.SHA256 = "00" },
	} {
		m := sample()
		change(&m.Components[1])
		if _, err := Write(m); err == nil || !strings.Contains(err.Error(), "k3s") {
			t.Errorf("%s: error %v does not name the component", name, err)
		}
	}
}

func TestTogether(t *testing.T) {
	cs := []component.Component{{License: "MIT AND ISC"}, {License: "Apache-2.0"}, {License: "MIT"}, {License: "A OR B"}, {License: noAssertion}}
	if got, want := together(cs), "(A OR B) AND Apache-2.0 AND ISC AND MIT"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestDownloadLocation(t *testing.T) {
	for purl, want := range map[string]string{
		"pkg:golang/github.com/k3s-io/k3s/sub@v1.35.1%2Bk3s1":    "git+https://github.com/k3s-io/k3s@v1.35.1+k3s1",
		"pkg:golang/golang.org/x/sys@v0.48.0":                    "https://golang.org/x/sys",
		"pkg:github/digital-mycelium/os@1.0":                     "git+https://github.com/digital-mycelium/os@1.0",
		"pkg:deb/debian/systemd-boot-efi@257?arch=amd64#usr/lib": noAssertion,
		"pkg:generic/x": noAssertion,
	} {
		if got := downloadLocation(purl); got != want {
			t.Errorf("%s: %s, want %s", purl, got, want)
		}
	}
}

func TestModules(t *testing.T) {
	prog := filepath.Join(t.TempDir(), "prog")
	if out, err := exec.Command("go", "build", "-o", prog, "./testdata/prog").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	mods, err := Modules(context.Background(), prog)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Module{}
	for _, m := range mods {
		got[m.Path] = m
	}
	if m := got["golang.org/x/mod"]; m.License != "BSD-3-Clause" || len(m.SHA256) != 64 {
		t.Errorf("golang.org/x/mod: %+v", m)
	}
	if got["std"].Version == "" {
		t.Error("no standard library")
	}
	if _, err := Modules(context.Background(), filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("modules of nothing")
	}
}

func FuzzRead(f *testing.F) {
	b, err := Write(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := Read(data); err == nil && s.Size <= 0 {
			t.Error("accepted a document without a size")
		}
	})
}
