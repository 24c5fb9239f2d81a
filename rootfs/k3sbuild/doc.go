// Package k3sbuild builds the Kubernetes of a node from Go modules: k3s (the
// server, the agent and containerd) and rt (runc, shim, CNI plugins, mount and
// umount), each a static program.
//
// rootfs/k3s and rootfs/k3s/rt are Go modules of their own. What they change
// in other modules stands there as patches and small stub files; the build
// lays the patched modules out in a temporary folder beside a copy of ours,
// names them by replace lines, and builds there. The module cache is never
// written to, and where the folder is does not show in the result.
//
//	k3s, rt, err := k3sbuild.Build(ctx, repoRoot, "amd64", k3sbuild.Options{})
package k3sbuild
