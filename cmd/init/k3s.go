package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/firewall"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/supervise"
)

const (
	k3sName       = "k3s" // of the service
	k3sPath       = "/bin/k3s"
	k3sConfigDir  = "/state/rancher"
	k3sKubeconfig = k3sConfigDir + "/k3s.yaml"
	k3sData       = "/var/lib/rancher/k3s"
	imagesDir     = k3sData + "/agent/images"
	cniDir        = "/run/cni/net.d"
	podBridge     = "cni0" // in cniTemplate
)

// k3sSpec is the Kubernetes service: server and agent in one process, or an
// agent alone. It starts when the node is a member of a network, whether others
// can be reached or not: its address is the one on the mesh, which stays.
func (m *machine) k3sSpec() supervise.Spec {
	var mu sync.Mutex
	var role k3sRole
	var service context.CancelFunc = func() {}
	return supervise.Spec{
		Name:        k3sName,
		StopTimeout: 30 * time.Second,
		Wait: func(ctx context.Context) error {
			if len(m.blockers) > 0 {
				reason := strings.Join(m.blockers, "; ")
				m.board.SetProblem("blocked", "Kubernetes is off: "+reason)
				m.board.Update(func(s *api.Status) { s.Kubernetes.Reason = reason })
				<-ctx.Done()
				return ctx.Err()
			}
			next, err := m.clusterRole(ctx)
			mu.Lock()
			role = next
			mu.Unlock()
			return err
		},
		Start: func(ctx context.Context) (supervise.Process, error) {
			mu.Lock()
			defer mu.Unlock()
			service()
			ctx, service = context.WithCancel(ctx)
			// containerd is the same program; one that outlived a killed K3s would
			// keep its successor from starting.
			endStrays(filepath.Join(cgroupRoot, "services", k3sName), k3sPath)
			if err := m.prepareK3s(ctx, role); err != nil {
				return nil, err
			}
			command, err := role.command()
			if err != nil {
				return nil, err
			}
			started := role
			m.spawn(func() { m.restartOnNewRole(ctx, started) })
			return m.startProcess(ctx, k3sName, command)
		},
	}
}

// prepareK3s puts everything in its place that K3s expects there.
func (m *machine) prepareK3s(ctx context.Context, role k3sRole) error {
	// Kubernetes' ports are for members: without the rules nothing opens them.
	if err := (firewall.Rules{Mesh: meshName, Bridge: podBridge}).Apply(ctx, m.procs.output); err != nil {
		return err
	}
	prepare := prepareK3sFiles
	if role.Agent {
		prepare = prepareAgentFiles
	}
	if err := prepare(m.log); err != nil {
		return err
	}
	if err := placeImages(); err != nil {
		return err
	}
	if err := m.startPodCIDR(!role.Agent && role.Database == sqliteDatabase); err != nil {
		return fmt.Errorf("configure the pod network: %w", err)
	}
	if role.Agent {
		return nil
	}
	return kubernetesAccess()
}

// Files of the root that must stand where they can be written to.
const (
	cniTemplate = "/share/cni/10-mycelium.conflist"
	rootImages  = "/share/images"
)

// placeImages puts the container images that the root carries where K3s looks
// for them.
func placeImages() error {
	images, err := filepath.Glob(filepath.Join(rootImages, "*.tar*"))
	if err != nil {
		return err
	}
	for _, image := range images {
		if err := copyFile(image, filepath.Join(imagesDir, filepath.Base(image))); err != nil {
			return fmt.Errorf("place the root's images: %w", err)
		}
	}
	return nil
}

// copyFile makes to hold what from holds, and leaves it alone when it does.
func copyFile(from, to string) error {
	want, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return placeFile(to, want)
}

// placeFile makes the file to hold want, and leaves it alone when it does.
func placeFile(to string, want []byte) error {
	if have, err := os.ReadFile(to); err == nil && bytes.Equal(have, want) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".new")
	if err := os.WriteFile(tmp, want, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, to)
}
