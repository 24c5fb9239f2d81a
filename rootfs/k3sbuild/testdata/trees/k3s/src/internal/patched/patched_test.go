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

// TestHalfMigration expects etcd's data to count once no migration into them
// is under way, and to go when one was cut short.
func TestHalfMigration(t *testing.T) {
	for _, tt := range []struct {
		files       []string // in db
		initialized bool
	}{
		{nil, false},
		{[]string{"state.db"}, false},
		{[]string{"etcd/member/wal/0.wal"}, true},
		{[]string{"etcd/member/wal/0.wal", "state.db"}, true}, // of another cluster: this server joined
		{[]string{"etcd/member/wal/0.wal", "state.db", "migrating"}, false},
		{[]string{"etcd/member/wal/0.wal", "state.db.migrated", "migrating"}, true},
	} {
		dir := t.TempDir()
		for _, name := range tt.files {
			path := filepath.Join(dir, "db", filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		driver := etcd.NewETCD()
		if err := driver.SetControlConfig(&config.Control{DataDir: dir, PrivateIP: "127.0.0.1"}); err != nil {
			t.Fatal(err)
		}
		if got, err := driver.IsInitialized(); err != nil || got != tt.initialized {
			t.Errorf("with %q: %v, %v, want %v", tt.files, got, err, tt.initialized)
		}
		if _, err := os.Stat(filepath.Join(dir, "db", "etcd", "member")); (err == nil) != tt.initialized {
			t.Errorf("with %q: etcd's folder: %v", tt.files, err)
		}
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
		"restore":  etcd.NewETCD().Restore(t.Context()),
	} {
		if err == nil || !strings.Contains(err.Error(), "this build has no") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
