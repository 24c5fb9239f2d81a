package k3sbuild

// What is tested of the modules that the build changes. Kubernetes and
// containerd as a whole are not: those who make their releases do that. A test
// holds the plan against the patches and stubs: each package that one of them
// touches stands in one of the two lists.

// plan is what to check of a program's tree, besides the program's own module.
type plan struct {
	// tested are changed packages whose tests run, those of upstream and ours.
	tested []string
	// without are tests that do not run, as "go test -skip" wants them.
	without []exception
	// vetted are changed packages without tests to run: they are compiled and
	// vetted.
	vetted []exception
}

// exception is what is not tested, a test or the package of a path.
type exception struct{ name, why string }

// testPlan returns what to check of the program of the given name.
func testPlan(program string) plan {
	if program != "k3s" {
		return plan{} // rt changes nothing but the names of packages
	}
	return plan{
		tested: []string{
			"github.com/containerd/containerd/v2/core/diff/apply",  // layers on the disk before they count
			"github.com/k3s-io/k3s/pkg/agent/containerd",           // containerd's configuration
			"github.com/k3s-io/k3s/pkg/authenticator/passwordfile", // secrets without scrypt
			"github.com/k3s-io/k3s/pkg/daemons/control/deps",       // key of service accounts
			"github.com/k3s-io/k3s/pkg/nodepassword",               // secrets without scrypt
			"github.com/k3s-io/kine/pkg/drivers/generic",           // prepared statements
			"github.com/k3s-io/kine/pkg/drivers/sqlite",            // SQLite in Go
			"github.com/k3s-io/kine/pkg/endpoint",                  // SQLite alone
			"go.etcd.io/etcd/server/v3/storage/backend",            // comparison of transactions
		},
		without: []exception{
			{"Test_UnitGetHostConfigs/embedded_registry", "the embedded registry was cut out; the other cases run"},
		},
		vetted: []exception{
			{"github.com/k3s-io/k3s/pkg/agent/config", "shorter polls"},
			{"github.com/k3s-io/k3s/pkg/agent/cri", "shorter polls"},
			{"github.com/k3s-io/k3s/pkg/util", "shorter polls"},
			{"github.com/k3s-io/k3s/pkg/cli/server", "starts a server: the system tests do"},
			{"github.com/k3s-io/k3s/pkg/server", "starts controllers: the system tests do"},
			{"github.com/k3s-io/k3s/pkg/deploy", "tested by internal/patched"},
			{"github.com/k3s-io/k3s/pkg/etcd", "its tests start servers as root and use what was cut out; internal/patched tests the changes"},
			{"go.etcd.io/etcd/server/v3/embed", "only the gateway is gone; its tests start servers"},
			{"github.com/k3s-io/k3s/pkg/rootless", "a stub, tested by internal/patched"},
			{"github.com/k3s-io/k3s/pkg/spegel", "a stub, tested by internal/patched"},
			{"github.com/k3s-io/k3s/pkg/proctitle", "a stub that does nothing"},
			{"github.com/k3s-io/k3s/pkg/rootlessports", "a stub that does nothing"},
			{"github.com/google/go-cmp/cmp/internal/value", "its test wants methods in the names of interfaces, which is what was cut out"},
			{"github.com/godbus/dbus/v5", "its tests talk to a session bus and export objects, which is what was cut out"},
		},
	}
}
