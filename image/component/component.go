// Package component describes what stands in an OS file: one Component per
// piece that was built or fetched, as the software bill of materials lists it.
package component

// Component is one piece of the OS file. The packages that build or fetch a
// piece fill in what they know; image measures the sizes.
type Component struct {
	// Name is the upstream's name, e.g. "linux", "k3s", "nftables".
	Name string `json:"name"`
	// Version is the upstream's or package's version, e.g. "6.12.107-1".
	Version string `json:"version"`
	// Source says where it came from as a package URL (purl specification),
	// e.g. "pkg:deb/debian/linux-source-6.12@6.12.107-1?arch=all&distro=trixie"
	// or "pkg:golang/github.com/k3s-io/k3s@v1.35.1".
	Source string `json:"source"`
	// SHA256 is the hex digest of File.
	SHA256 string `json:"sha256"`
	// License is an SPDX licence expression.
	License string `json:"license"`
	// Path is where the piece stands: an absolute path in the root file
	// system, or "kernel", "stub", "init" for parts outside it.
	Path string `json:"path"`
	// File is the piece on the build machine; not part of the manifest.
	File string `json:"-"`
	// RawSize is the size of File in bytes.
	RawSize int64 `json:"rawSize"`
	// CompressedSize is the piece's share of the OS file in bytes.
	CompressedSize int64 `json:"compressedSize"`
}
