// The files below are laid over other modules; see ../README.md. This go.mod
// only keeps them out of the module around them.
module github.com/digital-mycelium/os/rootfs/k3s/stubs

go 1.26
