// Package patched tests, through their exported names, the stubs and patches
// whose packages have no tests of their own.
package patched

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k3s-io/k3s/pkg/daemons/config"
	"github.com/k3s-io/k3s/pkg/deploy"
	"github.com/k3s-io/k3s/pkg/etcd"
	"github.com/k3s-io/k3s/pkg/rootless"
	"github.com/k3s-io/k3s/pkg/spegel"
	"github.com/k3s-io/kine/pkg/endpoint"
)

func TestManifestsFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "server", "manifests")
	for range 2 {
		if err := deploy.Stage(dir, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Errorf("%s: %v", dir, err)
	}
}

// TestEtcdData expects a server to refuse a folder that a build with etcd has
// written to, and no other.
func TestEtcdData(t *testing.T) {
	dir := t.TempDir()
	driver := etcd.NewETCD()
	if err := driver.SetControlConfig(&config.Control{DataDir: dir}); err != nil {
		t.Fatal(err)
	}
	if there, err := driver.IsInitialized(); there || err != nil {
		t.Errorf("empty folder: %v, %v", there, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "db", "etcd", "member"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := driver.IsInitialized(); err == nil || !strings.Contains(err.Error(), "etcd build") {
		t.Errorf("folder of etcd: %v", err)
	}
}

func TestDatastoreDefaults(t *testing.T) {
	c := etcd.DefaultEndpointConfig()
	if c.Listener != endpoint.KineSocket || c.EmulatedETCDVersion == "" || c.CompactInterval != 0 ||
		c.ConnectionPoolConfig.MaxIdle <= 2 || c.PollBatchSize == 0 {
		t.Errorf("kine's configuration: %+v", c)
	}
}

// TestAbsent expects who asks for what was cut out to be told so.
func TestAbsent(t *testing.T) {
	for name, err := range map[string]error{
		"registry": spegel.DefaultRegistry.Start(t.Context(), nil, nil),
		"rootless": rootless.Rootless("", false),
		"etcd":     etcd.NewETCD().Start(t.Context(), nil, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), "this build has no") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
