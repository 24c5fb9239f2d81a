// Package sbom writes the OS file's bill of materials as an SPDX 2.3 document
// and reads it back. The same image gives the same bytes: the document's time
// is the source's and its namespace follows from its content.
package sbom

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/digital-mycelium/os/image/component"
)

// Image is what a document describes.
type Image struct {
	// Board and Version name the image.
	Board, Version string
	// SHA256 (hex) and Size (bytes) are the OS file's.
	SHA256 string
	Size   int64
	// Created is the time of the source that the image was made from.
	Created time.Time
	// Tools made the image, as "name-version" each.
	Tools []string
	// Components are the pieces of the OS file, each with its sizes.
	Components []component.Component
	// Modules are the Go modules inside a component, by the component's name.
	Modules map[string][]Module
}

// Write returns the document for m.
func Write(m Image) ([]byte, error) {
	w := writer{created: m.Created.UTC().Format(time.RFC3339), ids: map[string]bool{documentID: true}}
	os, err := w.add(component.Component{
		Name: "mycelium-os", Version: m.Version, SHA256: m.SHA256, License: together(m.Components), Path: "os.efi",
		Source:  "pkg:github/digital-mycelium/os@" + url.PathEscape(m.Version),
		RawSize: m.Size, CompressedSize: m.Size,
	}, "OPERATING-SYSTEM")
	if err != nil {
		return nil, err
	}
	w.relate(documentID, "DESCRIBES", os)
	for _, c := range m.Components {
		id, err := w.add(c, purpose(c))
		if err != nil {
			return nil, err
		}
		w.relate(os, "CONTAINS", id)
		for _, mod := range m.Modules[c.Name] {
			w.relate(id, "STATIC_LINK", w.module(mod))
		}
	}
	d := document{
		SPDXVersion: spdxVersion, DataLicense: dataLicense, SPDXID: documentID,
		Name:              fmt.Sprintf(namePrefix+"%s-%s", m.Board, m.Version),
		DocumentDescribes: []string{os}, Packages: w.packages, Relationships: w.relationships,
		CreationInfo: creationInfo{Created: w.created, Creators: []string{"Organization: Digital Mycelium", "Tool: mycelium-" + m.Version}},
	}
	for _, t := range slices.Sorted(slices.Values(m.Tools)) {
		d.CreationInfo.Creators = append(d.CreationInfo.Creators, "Tool: "+t)
	}
	body, err := marshal(d)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	d.DocumentNamespace = fmt.Sprintf("https://github.com/digital-mycelium/os/spdx/%s/%s", m.Board, hex.EncodeToString(sum[:]))
	return marshal(d)
}

func marshal(d document) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("encode the bill of materials: %w", err)
	}
	return b.Bytes(), nil
}

// writer collects a document's packages.
type writer struct {
	created       string
	packages      []spdxPackage
	relationships []relationship
	ids           map[string]bool
	modules       map[Module]string
}

var notID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// id returns an identifier for name that no other element has.
func (w *writer) id(name string) string {
	base := "SPDXRef-" + strings.Trim(notID.ReplaceAllString(name, "-"), "-")
	id := base
	for i := 2; w.ids[id]; i++ {
		id = fmt.Sprintf("%s-%d", base, i)
	}
	w.ids[id] = true
	return id
}

func (w *writer) relate(a, kind, b string) {
	w.relationships = append(w.relationships, relationship{Element: a, Type: kind, Related: b})
}

// add appends a component and returns its identifier.
func (w *writer) add(c component.Component, purpose string) (string, error) {
	for field, v := range map[string]string{"name": c.Name, "version": c.Version, "source": c.Source, "licence": c.License, "path": c.Path} {
		if v == "" {
			return "", fmt.Errorf("component %s (%s) has no %s", c.Name, c.Path, field)
		}
	}
	if b, err := hex.DecodeString(c.SHA256); err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("component %s (%s): SHA-256 %q is not one", c.Name, c.Path, c.SHA256)
	}
	comment, err := json.Marshal(sizes{Path: c.Path, RawSize: c.RawSize, CompressedSize: c.CompressedSize})
	if err != nil {
		return "", err
	}
	p := w.newPackage(c.Name, c.Version, c.Source, c.License)
	p.FileName, p.Purpose = c.Path, purpose
	p.Checksums = []checksum{{"SHA256", strings.ToLower(c.SHA256)}}
	p.Annotations = []annotation{{Date: w.created, Type: "OTHER", Annotator: "Tool: mycelium", Comment: string(comment)}}
	w.packages = append(w.packages, p)
	return p.SPDXID, nil
}

// module appends a Go module unless it is there and returns its identifier.
func (w *writer) module(m Module) string {
	if id, ok := w.modules[m]; ok {
		return id
	}
	p := w.newPackage(m.Path, m.Version, "pkg:golang/"+purlPath(m.Path)+"@"+url.PathEscape(m.Version), m.License)
	p.Purpose = "LIBRARY"
	if m.SHA256 != "" {
		p.Checksums = []checksum{{"SHA256", m.SHA256}}
	}
	if w.modules == nil {
		w.modules = map[Module]string{}
	}
	w.modules[m] = p.SPDXID
	w.packages = append(w.packages, p)
	return p.SPDXID
}

func (w *writer) newPackage(name, version, source, license string) spdxPackage {
	return spdxPackage{
		SPDXID: w.id(name + "-" + version), Name: name, VersionInfo: version,
		DownloadLocation: downloadLocation(source),
		LicenseConcluded: noAssertion, LicenseDeclared: license, CopyrightText: noAssertion,
		ExternalRefs: []externalRef{{"PACKAGE-MANAGER", "purl", source}},
	}
}

// together returns the licence expression for all components at once.
func together(cs []component.Component) string {
	var terms []string
	for _, c := range cs {
		for t := range strings.SplitSeq(c.License, " AND ") {
			if strings.Contains(c.License, " OR ") {
				t = "(" + c.License + ")" // not taken apart
			}
			if t != "" && t != noAssertion && !slices.Contains(terms, t) {
				terms = append(terms, t)
			}
		}
	}
	slices.Sort(terms)
	return strings.Join(terms, " AND ")
}

func purpose(c component.Component) string {
	switch {
	case c.Path == "kernel":
		return "OPERATING-SYSTEM"
	case c.Path == "stub" || strings.HasPrefix(c.Path, "firmware/"):
		return "FIRMWARE"
	case strings.Contains(c.Path, "bin/") || c.Path == "init":
		return "APPLICATION"
	}
	return "FILE"
}

// purlPath escapes each element of a module path.
func purlPath(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// downloadLocation derives where a component can be had from its package URL.
func downloadLocation(purl string) string {
	body, _, _ := strings.Cut(strings.TrimPrefix(purl, "pkg:"), "?")
	body, _, _ = strings.Cut(body, "#")
	kind, rest, _ := strings.Cut(body, "/")
	name, version, _ := strings.Cut(rest, "@")
	if v, err := url.PathUnescape(version); err == nil {
		version = v
	}
	switch kind {
	case "golang", "github":
		host := name
		if kind == "github" {
			host = "github.com/" + name
		}
		parts := strings.Split(host, "/")
		if parts[0] == "github.com" && len(parts) >= 3 {
			return "git+https://" + strings.Join(parts[:3], "/") + "@" + url.PathEscape(version)
		}
		return "https://" + host
	}
	// A Debian package comes from whatever mirror the building machine uses;
	// its package URL says all that identifies it.
	return noAssertion
}

// Summary is what Read finds in a document.
type Summary struct {
	// Board, Version, SHA256 (hex) and Size (bytes) are the OS file's.
	Board, Version, SHA256 string
	Size                   int64
	// Components are the pieces of the image. Go modules inside them are left out.
	Components []component.Component
}

// Read reads a document that Write made.
func Read(data []byte) (*Summary, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("read the bill of materials: %w", err)
	}
	if d.SPDXVersion != spdxVersion {
		return nil, fmt.Errorf("read the bill of materials: version %q, want %s", d.SPDXVersion, spdxVersion)
	}
	var sum Summary
	for _, p := range d.Packages {
		if len(p.Annotations) == 0 || len(p.Checksums) == 0 || len(p.ExternalRefs) == 0 {
			continue
		}
		var s sizes
		if err := json.Unmarshal([]byte(p.Annotations[0].Comment), &s); err != nil {
			return nil, fmt.Errorf("read the bill of materials: sizes of %s: %w", p.Name, err)
		}
		if slices.Contains(d.DocumentDescribes, p.SPDXID) {
			sum.Version, sum.SHA256, sum.Size = p.VersionInfo, p.Checksums[0].Value, s.RawSize
			continue
		}
		sum.Components = append(sum.Components, component.Component{
			Name: p.Name, Version: p.VersionInfo, Source: p.ExternalRefs[0].Locator, SHA256: p.Checksums[0].Value,
			License: p.LicenseDeclared, Path: s.Path, RawSize: s.RawSize, CompressedSize: s.CompressedSize,
		})
	}
	if sum.Size <= 0 {
		return nil, errors.New("read the bill of materials: it does not describe an OS file")
	}
	sum.Board = strings.TrimSuffix(strings.TrimPrefix(d.Name, namePrefix), "-"+sum.Version)
	return &sum, nil
}
