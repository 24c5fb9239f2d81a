package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// ourSide is the OS.
type ourSide struct {
	// image is the disk image; osFile the OS file in it, whose size counts as disk.
	image, osFile string
	// demo is the demo workload's image archive.
	demo string
}

func (ourSide) Name() string  { return "mycelium" }
func (ourSide) Title() string { return "Digital Mycelium OS" }

func (ourSide) Milestones() []milestone {
	return []milestone{
		{"init runs", api.ConsolePrefix + "init "},
		{"root mounted", "phase root ok"},
		{"STATE mounted (made)", "phase state ok"},
		{"DATA mounted (made)", "phase data ok"},
		{"network configured", "phase network ok"},
		{"phases over", api.ConsolePrefix + api.EventRunning},
		{"K3s started", "service k3s running"},
		{"init sees the API", api.ConsolePrefix + api.EventAPI},
		{"init sees Ready", api.ConsolePrefix + api.EventReady},
	}
}

// Spec gives the machine a network to belong to, as an operator would.
func (s ourSide) Spec(spec qemu.NodeSpec) (qemu.NodeSpec, error) {
	spec.Image = s.image
	spec.Forwards = []qemu.Forward{{Guest: api.Port}}
	var err error
	if spec.Identity, err = qemu.NewIdentity(context.Background(), filepath.Join(spec.Dir, "identity"), "bench"); err != nil {
		return spec, err
	}
	c := config.Default()
	c.Hostname = spec.Name
	spec.Config, err = c.Document()
	return spec, err
}

// Access enrols the machine, which starts Kubernetes, and also hands the demo workload's image over: the Debian side has it on
// its disk, this one's disk is empty before its first boot.
func (s ourSide) Access(ctx context.Context, m *machine) ([]byte, error) {
	if err := m.Enrol(ctx, qemu.EnrolOptions{Role: identity.Server, Found: true}, nil); err != nil {
		return nil, err
	}
	if err := m.waitLine(ctx, api.ConsolePrefix+api.EventRunning); err != nil {
		return nil, err
	}
	client, err := m.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := until(ctx, "hand over the demo workload's image", func(ctx context.Context) error {
		f, err := os.Open(s.demo)
		if err != nil {
			return err
		}
		defer f.Close()
		return client.LoadImage(ctx, filepath.Base(s.demo), f)
	}); err != nil {
		return nil, err
	}
	var kubeconfig []byte
	err = until(ctx, "wait for K3s to write its kubeconfig", func(ctx context.Context) error {
		kubeconfig, err = m.Kubeconfig(ctx)
		return err
	})
	return kubeconfig, err
}

// Usage asks the machine API.
func (s ourSide) Usage(ctx context.Context, m *machine) (usage, error) {
	client, err := m.Client(ctx)
	if err != nil {
		return usage{}, err
	}
	defer client.Close()
	status, err := client.Status(ctx)
	if err != nil {
		return usage{}, err
	}
	info, err := os.Stat(s.osFile)
	if err != nil {
		return usage{}, err
	}
	text, err := json.MarshalIndent(status, "", "  ")
	if err != nil {
		return usage{}, err
	}
	u := usage{
		MemoryTotal: status.Memory.Total, MemoryAvailable: status.Memory.Available,
		Disk:    uint64(info.Size()),
		Details: map[string]string{"status.json": string(text)},
	}
	for _, v := range status.Volumes {
		u.Disk += v.Size - v.Free - v.Reserved
	}
	names, err := client.Logs(ctx)
	if err != nil {
		return u, err
	}
	for _, name := range names {
		r, err := client.Log(ctx, name, api.LogOptions{})
		if err != nil {
			return u, fmt.Errorf("log %s: %w", name, err)
		}
		text, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return u, fmt.Errorf("log %s: %w", name, err)
		}
		u.Details["log-"+name] = string(text)
	}
	return u, nil
}
