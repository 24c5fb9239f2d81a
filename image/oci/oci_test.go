package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sample() Image {
	return Image{
		Name: "localhost/hello:1", Arch: "amd64", Program: []byte("\x7fELF"), Path: "/usr/bin/hello",
		User: "65532:65532", Created: time.Unix(1_700_000_000, 5), Labels: map[string]string{"a": "b"},
	}
}

// unpack returns an archive's files by name.
func unpack(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 1_700_000_000 {
			t.Errorf("%s: %+v", h.Name, h)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func decode[T any](t *testing.T, b []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestWrite follows the digests from the index to the program, as an importer does.
func TestWrite(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, sample()); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, b.Bytes())
	get := func(d descriptor) []byte {
		data, ok := files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		if !ok || len(data) != d.Size || digest(data) != d.Digest {
			t.Fatalf("blob %+v: there %v, %d bytes", d, ok, len(data))
		}
		return data
	}
	idx := decode[index](t, files["index.json"])
	if got := idx.Manifests[0].Annotations["io.containerd.image.name"]; got != "localhost/hello:1" {
		t.Errorf("name %q", got)
	}
	man := decode[manifest](t, get(idx.Manifests[0]))
	cfg := decode[config](t, get(man.Config))
	layer := get(man.Layers[0])
	if cfg.RootFS.DiffIDs[0] != digest(layer) || cfg.Architecture != "amd64" || cfg.OS != "linux" || cfg.Config.User != "65532:65532" {
		t.Errorf("configuration %+v", cfg)
	}
	in := unpack(t, layer)
	if string(in["usr/bin/hello"]) != "\x7fELF" || len(in) != 3 {
		t.Errorf("layer %v", in)
	}
	if cfg.Config.Entrypoint[0] != "/usr/bin/hello" {
		t.Errorf("entry point %v", cfg.Config.Entrypoint)
	}
	docker := decode[[]struct {
		Config   string
		RepoTags []string
		Layers   []string
	}](t, files["manifest.json"])
	if files[docker[0].Config] == nil || files[docker[0].Layers[0]] == nil || docker[0].RepoTags[0] != "localhost/hello:1" {
		t.Errorf("docker's manifest %+v", docker)
	}
	var again bytes.Buffer
	if err := Write(&again, sample()); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Error("two archives of one image differ")
	}
}

func TestErrors(t *testing.T) {
	for _, p := range []string{"", "hello", "/", "/a/../b"} {
		m := sample()
		m.Path = p
		if err := Write(io.Discard, m); err == nil {
			t.Errorf("path %q accepted", p)
		}
	}
}

func TestStaticArch(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		prog := filepath.Join(t.TempDir(), arch)
		cmd := exec.Command("go", "build", "-o", prog, "./testdata/prog")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		b, err := os.ReadFile(prog)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := StaticArch(b); err != nil || got != arch {
			t.Errorf("%s: %q, %v", arch, got, err)
		}
	}
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"a dynamic program": shell, "a script": []byte("#!/bin/sh")} {
		if _, err := StaticArch(b); err == nil {
			t.Errorf("%s passed for a static one", name)
		}
	}
}

func TestNormalize(t *testing.T) {
	for name, want := range map[string]string{
		"hello:1":               "docker.io/library/hello:1",
		"me/hello:1":            "docker.io/me/hello:1",
		"localhost/hello:1":     "localhost/hello:1",
		"a.example:5000/x/y:t1": "a.example:5000/x/y:t1",
		"hello":                 "",
		"Hello:1":               "",
		"hello:":                "",
		"hello@sha256:00":       "",
		"":                      "",
	} {
		got, err := Normalize(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	f.Add("localhost/hello:1")
	f.Fuzz(func(t *testing.T, name string) {
		got, err := Normalize(name)
		if err != nil {
			return
		}
		if again, err := Normalize(got); err != nil || again != got {
			t.Errorf("%q becomes %q becomes %q (%v)", name, got, again, err)
		}
	})
}
