package k3sbuild

// tagEtcd is the build tag, and the variant, with embedded etcd.
const tagEtcd = "etcd"

// module is a Go module that the build changes before it compiles it. Patches
// and stubs for it lie below patchesDir and stubsDir under its path.
type module struct {
	// path is the module's path as it is imported.
	path string
	// remove are files and folders that go, by glob relative to the module.
	// Stubs may stand in their place.
	remove []removal
	// importable are folders with a main package that becomes a package of the
	// given name, its function main becoming Main.
	importable map[string]string
}

// removal is a glob of what goes, unless the build has the tag keptBy.
type removal struct {
	glob   string
	keptBy string
}

// k3sModules are the modules that the build of k3s changes.
func k3sModules() []module {
	return []module{
		{
			path: "github.com/k3s-io/k3s",
			remove: []removal{
				{glob: "pkg/spegel"},
				{glob: "pkg/rootless"},
				{glob: "pkg/rootlessports"},
				{glob: "pkg/proctitle"},
				{glob: "pkg/etcd/*.go", keptBy: tagEtcd},
				{glob: "pkg/etcd/s3", keptBy: tagEtcd},
				{glob: "pkg/etcd/snapshot", keptBy: tagEtcd},
			},
		},
		{
			path:   "github.com/k3s-io/kine",
			remove: []removal{{glob: "pkg/drivers/sqlite/sqlite_nocgo.go"}},
		},
		{path: "github.com/containerd/containerd/v2"},
		{path: "github.com/godbus/dbus/v5"},
		{path: "github.com/google/go-cmp"},
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
