package k3sbuild

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Versions are those of the parts inside k3s and rt, with a leading "v".
type Versions struct {
	// K3s is the version of K3s' Go module, which may be a pseudo-version.
	K3s string
	// Kubernetes is the version that a node reports, e.g. "v1.35.1+k3s1".
	Kubernetes string
	Containerd string
	Runc       string
	CNIPlugins string
	// SQLite is the version of the Go module modernc.org/sqlite.
	SQLite string
}

// ReadVersions reads the versions from the go.mod files of rootfs/k3s.
func ReadVersions(repoRoot string) (Versions, error) {
	k3s, err := readMod(filepath.Join(repoRoot, "rootfs", "k3s", "go.mod"))
	if err != nil {
		return Versions{}, err
	}
	rt, err := readMod(filepath.Join(repoRoot, "rootfs", "k3s", "rt", "go.mod"))
	if err != nil {
		return Versions{}, err
	}
	v := Versions{
		K3s:        k3s["github.com/k3s-io/k3s"],
		Kubernetes: strings.Replace(k3s["k8s.io/kubernetes"], "-k3s", "+k3s", 1),
		Containerd: k3s["github.com/containerd/containerd/v2"],
		Runc:       rt["github.com/opencontainers/runc"],
		CNIPlugins: rt["github.com/containernetworking/plugins"],
		SQLite:     k3s["modernc.org/sqlite"],
	}
	if other := rt["github.com/containerd/containerd/v2"]; other != v.Containerd {
		return v, fmt.Errorf("containerd is %s in rootfs/k3s and its shim %s in rootfs/k3s/rt: make them equal", v.Containerd, other)
	}
	for _, s := range []string{v.K3s, v.Kubernetes, v.Containerd, v.Runc, v.CNIPlugins} {
		if s == "" {
			return v, fmt.Errorf("rootfs/k3s/go.mod or rootfs/k3s/rt/go.mod lacks one of K3s, Kubernetes, containerd, runc, CNI plugins: have %+v", v)
		}
	}
	return v, nil
}

// readMod returns the versions of a go.mod by module path, replace lines
// taken into account.
func readMod(path string) (map[string]string, error) {
	f, err := parseMod(path)
	if err != nil {
		return nil, err
	}
	versions := make(map[string]string)
	for _, r := range f.Require {
		versions[r.Mod.Path] = r.Mod.Version
	}
	for _, r := range f.Replace {
		if r.New.Version != "" {
			versions[r.Old.Path] = r.New.Version
		}
	}
	return versions, nil
}

// majorMinor returns the first two numbers of Kubernetes' version.
func (v Versions) majorMinor() (major, minor string) {
	parts := strings.SplitN(strings.TrimPrefix(v.Kubernetes, "v"), ".", 3)
	if len(parts) < 2 {
		return "", ""
	}
	return parts[0], parts[1]
}

// k3sCommit returns the commit in K3s' pseudo-version, or its version.
func (v Versions) k3sCommit() string {
	return v.K3s[strings.LastIndex(v.K3s, "-")+1:]
}
