package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/digital-mycelium/os/pkg/qemu"
)

// debianSide is a minimal Debian with upstream's K3s.
type debianSide struct {
	disk string
}

func (debianSide) Name() string  { return "debian" }
func (debianSide) Title() string { return "Debian 12 + K3s" }

func (debianSide) Milestones() []milestone {
	return []milestone{
		{"initramfs runs", "Loading, please wait"},
		{"initramfs mounts the root", "Mounting root file system"},
		{"systemd runs", "Welcome to Debian"},
		{"udev runs again", "systemd-udevd.serv"},
		{"local file systems", "Reached target local-fs.target"},
		{"network configured", "Reached target network-online"},
		{"K3s started", "Starting k3s.service"},
		{"K3s says it is ready", "Started k3s.service"},
	}
}

func (s debianSide) Spec(spec qemu.NodeSpec) (qemu.NodeSpec, error) {
	spec.Image = s.disk
	spec.Forwards = []qemu.Forward{{Guest: kubernetesPort}}
	spec.ExtraArgs = append(spec.ExtraArgs,
		"-chardev", "socket,id=probe,server=on,wait=off,path="+probeSocket, "-serial", "chardev:probe")
	return spec, nil
}

// kubernetesPort is the guest's port of the Kubernetes API.
const kubernetesPort = 6443

// atAddress returns the kubeconfig with every cluster's server at address.
func atAddress(kubeconfig []byte, address string) ([]byte, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + address
	}
	return clientcmd.Write(*config)
}

// probeTimeout bounds one answer of the probe.
const probeTimeout = 20 * time.Second

func (s debianSide) Access(ctx context.Context, m *machine) ([]byte, error) {
	address, err := m.Address(kubernetesPort)
	if err != nil {
		return nil, err
	}
	if err := m.waitLine(ctx, "bench-probe"); err != nil { // systemd's "Started ..."
		return nil, err
	}
	var kubeconfig string
	err = until(ctx, "wait for K3s to write its kubeconfig", func(context.Context) error {
		p, err := m.dialProbe(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = p.Close() }()
		kubeconfig, err = p.ask("kubeconfig", 2*time.Second)
		if err == nil && !strings.Contains(kubeconfig, "client-key-data") {
			err = errors.New("there is none yet")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return atAddress([]byte(kubeconfig), address)
}

// Usage reads the files that an administrator would look at.
func (s debianSide) Usage(ctx context.Context, m *machine) (usage, error) {
	p, err := m.dialProbe(ctx)
	if err != nil {
		return usage{}, err
	}
	defer func() { _ = p.Close() }()
	u := usage{Details: map[string]string{}}
	for _, command := range []string{"meminfo", "used", "processes", "sync", "du", "blame", "kernel", "k3s"} {
		if u.Details[command], err = p.ask(command, probeTimeout*3); err != nil {
			return u, err
		}
	}
	if u.MemoryTotal, err = meminfo(u.Details["meminfo"], "MemTotal"); err != nil {
		return u, err
	}
	if u.MemoryAvailable, err = meminfo(u.Details["meminfo"], "MemAvailable"); err != nil {
		return u, err
	}
	u.Disk, err = strconv.ParseUint(strings.TrimSpace(u.Details["used"]), 10, 64)
	return u, err
}

// meminfo returns a field of /proc/meminfo in bytes.
func meminfo(text, field string) (uint64, error) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		if name != field {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("meminfo's %s: %w", field, err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("meminfo has no %s", field)
}
