package containerd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k3s-io/k3s/pkg/agent/templates"
	"github.com/k3s-io/k3s/pkg/daemons/config"
	"github.com/pelletier/go-toml/v2"
	"github.com/rancher/wharfie/pkg/registries"
)

// node is configured like a node of ours, with a mirror and its password.
func node(dir string) *config.Node {
	return &config.Node{
		Containerd: config.Containerd{
			Config:   filepath.Join(dir, "config.toml"),
			Registry: filepath.Join(dir, "certs.d"),
			Template: dir,
			Root:     "/var/lib/containerd",
			State:    "/run/containerd",
			Address:  "/run/containerd.sock",
		},
		AgentConfig: config.Agent{
			Snapshotter: "overlayfs",
			PauseImage:  "mycelium.os/pause:1",
			CNIBinDir:   "/libexec/cni",
			CNIConfDir:  "/etc/cni/net.d",
			Registry: &registries.Registry{
				Mirrors: map[string]registries.Mirror{"example.org": {Endpoints: []string{"https://mirror.example:5000/v2"}}},
				Configs: map[string]registries.RegistryConfig{
					"mirror.example:5000": {
						Auth: &registries.AuthConfig{Username: "u", Password: "p"},
						TLS:  &registries.TLSConfig{InsecureSkipVerify: true},
					},
				},
			},
		},
	}
}

// decode reads a TOML file.
func decode(t *testing.T, path string) map[string]any {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := toml.Unmarshal(content, &m); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, content)
	}
	return m
}

// at returns what stands in nested tables.
func at(m map[string]any, path ...string) any {
	var v any = m
	for _, p := range path {
		table, _ := v.(map[string]any)
		v = table[p]
	}
	return v
}

// TestConfigurationRenders renders K3s' templates without looking methods up.
func TestConfigurationRenders(t *testing.T) {
	dir := t.TempDir()
	cfg := node(dir)
	err := writeContainerdConfig(cfg, templates.ContainerdConfig{
		NodeConfig:            cfg,
		Program:               "k3s",
		PrivateRegistryConfig: cfg.AgentConfig.Registry,
		ExtraRuntimes:         map[string]templates.ContainerdRuntimeConfig{"crun": {RuntimeType: "io.containerd.runc.v2", BinaryName: "/bin/crun"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := decode(t, cfg.Containerd.Config)
	const images, runtime = "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"
	for _, tt := range []struct {
		path []string
		want any
	}{
		{[]string{"version"}, int64(3)},
		{[]string{"grpc", "address"}, "/run/containerd.sock"},
		{[]string{"plugins", images, "snapshotter"}, "overlayfs"},
		{[]string{"plugins", images, "pinned_images", "sandbox"}, "mycelium.os/pause:1"},
		{[]string{"plugins", images, "registry", "config_path"}, cfg.Containerd.Registry},
		{[]string{"plugins", images, "registry", "configs", "mirror.example:5000", "auth", "password"}, "p"},
		{[]string{"plugins", runtime, "cni", "conf_dir"}, "/etc/cni/net.d"},
		{[]string{"plugins", runtime, "containerd", "runtimes", "runc", "runtime_type"}, "io.containerd.runc.v2"},
		{[]string{"plugins", runtime, "containerd", "runtimes", "crun", "options", "BinaryName"}, "/bin/crun"},
	} {
		if got := at(m, tt.path...); got != tt.want {
			t.Errorf("%s is %v, want %v", strings.Join(tt.path, " "), got, tt.want)
		}
	}
}

func TestHostsRender(t *testing.T) {
	dir := t.TempDir()
	cfg := node(dir)
	if err := writeContainerdHosts(cfg, templates.ContainerdConfig{PrivateRegistryConfig: cfg.AgentConfig.Registry}); err != nil {
		t.Fatal(err)
	}
	m := decode(t, filepath.Join(cfg.Containerd.Registry, "example.org", "hosts.toml"))
	if got := at(m, "server"); got != "https://example.org/v2" {
		t.Errorf("server is %v", got)
	}
	if got := at(m, "host", "https://mirror.example:5000/v2", "skip_verify"); got != true {
		t.Errorf("skip_verify is %v in %v", got, m)
	}
}

func TestSnapshotters(t *testing.T) {
	for name, supported := range map[string]func(string) error{
		"fuse-overlayfs": FuseoverlayfsSupported, "stargz": StargzSupported, "nix": NixSupported,
	} {
		if supported(t.TempDir()) == nil {
			t.Errorf("%s is said to be supported", name)
		}
	}
}
