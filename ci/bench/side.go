package main

import (
	"context"

	"github.com/digital-mycelium/os/pkg/qemu"
)

// A side is one of the two systems under comparison.
type side interface {
	// Name is a short name for files; Title says what it is.
	Name() string
	Title() string
	// Milestones are lines of its console that split the boot into parts.
	Milestones() []milestone
	// Spec adds what the side's machine needs besides the hardware.
	Spec(spec qemu.NodeSpec) (qemu.NodeSpec, error)
	// Access waits until the machine hands out an admin kubeconfig.
	Access(ctx context.Context, m *machine) ([]byte, error)
	// Usage reports memory and disk, and whatever else says where they go.
	Usage(ctx context.Context, m *machine) (usage, error)
}

// usage is what a machine takes. Sizes are bytes.
type usage struct {
	MemoryTotal     uint64
	MemoryAvailable uint64
	Disk            uint64
	// Details are files for the profile, by name.
	Details map[string]string
}

// milestone is a moment that a console line marks: the first that holds Text.
type milestone struct {
	Name, Text string
}
