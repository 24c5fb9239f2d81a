// Command rt is everything that the container runtime runs, in one static
// program told apart by the name that it is called under: runc, the shim that
// containerd starts for every pod, the CNI plugins, mount and umount.
//
// It is apart from k3s because each of them starts often: a program of 15 MB
// starts faster and keeps less memory than one of 130 MB. Only runc's nsexec,
// which must run before Go's runtime has threads, and libseccomp need cgo.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task/plugin"
	"github.com/containerd/containerd/v2/pkg/shim"
	hostlocal "github.com/containernetworking/plugins/plugins/ipam/host-local"
	"github.com/containernetworking/plugins/plugins/main/bridge"
	"github.com/containernetworking/plugins/plugins/main/loopback"
	"github.com/containernetworking/plugins/plugins/meta/portmap"
	"github.com/opencontainers/runc"

	"github.com/digital-mycelium/os/rootfs/k3s/rt/mount"
	"github.com/digital-mycelium/os/rootfs/k3s/rt/multicall"
)

// shimRuntime is the runtime that the shim answers to.
const shimRuntime = "io.containerd.runc.v2"

func main() {
	programs := multicall.Table{
		"runc":         runc.Main,
		multicall.Shim: func() { shim.Run(context.Background(), manager.NewShimManager(shimRuntime)) },
		"bridge":       bridge.Main,
		"host-local":   hostlocal.Main,
		"loopback":     loopback.Main,
		"portmap":      portmap.Main,
		"mount":        func() { os.Exit(mount.Main(os.Args[1:], os.Stderr)) },
		"umount":       func() { os.Exit(mount.UmountMain(os.Args[1:], os.Stderr)) },
	}
	program, err := programs.Find(os.Args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "rt: %v\n", err)
		os.Exit(2)
	}
	program()
}
