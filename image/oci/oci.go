// Package oci packs one static program into a container image archive that
// containerd, K3s and docker import under a wanted name: an OCI image layout
// (image-spec 1.1) with docker's manifest.json beside it. The same program
// gives the same bytes. No registry and no daemon takes part.
package oci

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"time"
)

// Image describes an image.
type Image struct {
	// Name is the reference, e.g. "localhost/hello:1"; see Normalize.
	Name string
	// Arch is Go's name of the architecture.
	Arch string
	// Program is the content of the one file.
	Program []byte
	// Path is where it stands in the image, e.g. "/hello"; it is the entry point.
	Path string
	// User runs it, as "uid:gid".
	User string
	// Created is the image's and its file's time.
	Created time.Time
	// Labels are free.
	Labels map[string]string
}

const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type config struct {
	Created  string        `json:"created"`
	platform               // architecture and os
	Config   processConfig `json:"config"`
	RootFS   rootFS        `json:"rootfs"`
	History  []history     `json:"history"`
}

type processConfig struct {
	User       string            `json:"User,omitempty"`
	Entrypoint []string          `json:"Entrypoint"`
	WorkingDir string            `json:"WorkingDir"`
	Labels     map[string]string `json:"Labels,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type history struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

var reference = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// Normalize returns name the way Kubernetes resolves it, with its registry
// domain: "hello:1" becomes "docker.io/library/hello:1". A tag is required, so
// that a Pod does not ask a registry for ":latest".
func Normalize(name string) (string, error) {
	if !reference.MatchString(name) {
		return "", fmt.Errorf("image name %q: want [domain/]path:tag in lower case", name)
	}
	domain, _, found := strings.Cut(name, "/")
	switch {
	case !found:
		return "docker.io/library/" + name, nil
	case domain == "localhost" || strings.ContainsAny(domain, ".:"):
		return name, nil
	}
	return "docker.io/" + name, nil
}

// Write writes the archive.
func Write(w io.Writer, m Image) error {
	name, err := Normalize(m.Name)
	if err != nil {
		return err
	}
	if !path.IsAbs(m.Path) || path.Clean(m.Path) != m.Path || m.Path == "/" {
		return fmt.Errorf("path %q in the image: want a clean absolute one", m.Path)
	}
	layer, err := m.layer()
	if err != nil {
		return fmt.Errorf("pack the layer: %w", err)
	}
	created := m.Created.UTC().Format(time.RFC3339)
	cfg, err := json.Marshal(config{
		Created: created, platform: platform{Architecture: m.Arch, OS: "linux"},
		Config:  processConfig{User: m.User, Entrypoint: []string{m.Path}, WorkingDir: "/", Labels: m.Labels},
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{digest(layer)}},
		History: []history{{Created: created, CreatedBy: "mycelium image oci"}},
	})
	if err != nil {
		return fmt.Errorf("encode the configuration: %w", err)
	}
	man, err := json.Marshal(manifest{
		SchemaVersion: 2, MediaType: typeManifest,
		Config: describe(typeConfig, cfg), Layers: []descriptor{describe(typeLayer, layer)},
	})
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	return m.archive(w, name, layer, cfg, man)
}

// archive writes the layout's files.
func (m Image) archive(w io.Writer, name string, layer, cfg, man []byte) error {
	top := describe(typeManifest, man)
	top.Platform = &platform{Architecture: m.Arch, OS: "linux"}
	top.Annotations = map[string]string{
		"io.containerd.image.name":          name,
		"org.opencontainers.image.ref.name": name[strings.LastIndexByte(name, ':')+1:],
	}
	idx, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{top}})
	if err != nil {
		return fmt.Errorf("encode the index: %w", err)
	}
	docker, err := json.Marshal([]map[string]any{{
		"Config": blob(cfg), "RepoTags": []string{name}, "Layers": []string{blob(layer)},
	}})
	if err != nil {
		return fmt.Errorf("encode docker's manifest: %w", err)
	}
	t := tarWriter{tar.NewWriter(w), m.Created}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", idx},
		{"manifest.json", docker},
		{blob(man), man},
		{blob(cfg), cfg},
		{blob(layer), layer},
	} {
		if err := t.file(f.name, 0o644, f.data); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	return t.Close()
}

// layer returns the one layer: the program and the directories above it.
func (m Image) layer() ([]byte, error) {
	var b bytes.Buffer
	t := tarWriter{tar.NewWriter(&b), m.Created}
	parts := strings.Split(strings.Trim(path.Dir(m.Path), "/"), "/")
	for i := range parts {
		if parts[i] == "" {
			continue
		}
		if err := t.dir(strings.Join(parts[:i+1], "/") + "/"); err != nil {
			return nil, err
		}
	}
	if err := t.file(strings.TrimPrefix(m.Path, "/"), 0o755, m.Program); err != nil {
		return nil, err
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// tarWriter writes entries whose headers hold nothing of the build machine.
type tarWriter struct {
	*tar.Writer
	time time.Time
}

func (t tarWriter) dir(name string) error {
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: t.time.UTC().Truncate(time.Second), Format: tar.FormatUSTAR})
}

func (t tarWriter) file(name string, mode int64, data []byte) error {
	err := t.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)),
		ModTime: t.time.UTC().Truncate(time.Second), Format: tar.FormatUSTAR,
	})
	if err != nil {
		return err
	}
	_, err = t.Write(data)
	return err
}

func describe(mediaType string, data []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: digest(data), Size: len(data)}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// blob returns where data stands in the layout.
func blob(data []byte) string {
	return "blobs/sha256/" + strings.TrimPrefix(digest(data), "sha256:")
}
