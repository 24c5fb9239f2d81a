package k3sbuild

// module is a Go module that the build changes before it compiles it. Patches
// and stubs for it lie below patchesDir and stubsDir under its path.
type module struct {
	// path is the module's path as it is imported.
	path string
	// remove are globs, relative to the module, of files and folders that go.
	// Stubs may stand in their place.
	remove []string
	// importable are folders with a main package that becomes a package of the
	// given name, its function main becoming Main.
	importable map[string]string
}

// k3sModules are the modules that the build of k3s changes.
func k3sModules() []module {
	return []module{
		{
			path: "github.com/k3s-io/k3s",
			remove: []string{
				"pkg/spegel",
				"pkg/rootless",
				"pkg/rootlessports",
				"pkg/proctitle",
				"pkg/etcd/snapshot*.go",
				"pkg/etcd/s3",
			},
		},
		{
			path:   "github.com/k3s-io/kine",
			remove: []string{"pkg/drivers/sqlite/sqlite_nocgo.go"},
		},
		{path: "github.com/containerd/containerd/v2"},
		{path: "github.com/godbus/dbus/v5"},
		{path: "github.com/google/go-cmp"},
		{path: "go.etcd.io/etcd/server/v3"},
	}
}

// rtModules are the modules that the build of rt changes.
func rtModules() []module {
	return []module{
		{
			path:       "github.com/opencontainers/runc",
			importable: map[string]string{".": "runc"},
		},
		{
			path: "github.com/containernetworking/plugins",
			importable: map[string]string{
				"plugins/main/bridge":     "bridge",
				"plugins/main/loopback":   "loopback",
				"plugins/ipam/host-local": "hostlocal",
				"plugins/meta/portmap":    "portmap",
			},
		},
	}
}
