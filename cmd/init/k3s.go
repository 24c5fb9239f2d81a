package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

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
)

// k3sSpec is the Kubernetes service: server and agent in one process. It starts
// when the node has an address and is started again when that changes.
func (m *machine) k3sSpec() supervise.Spec {
	var mu sync.Mutex
	var used netip.Addr
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
			addr, err := m.net.waitAddress(ctx, 0)
			mu.Lock()
			used = addr
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
			if err := prepareK3sFiles(m.log); err != nil {
				return nil, err
			}
			if err := placeFiles(); err != nil {
				return nil, err
			}
			addr := used
			m.spawn(func() { m.restartOnNewAddress(ctx, addr) })
			return m.startProcess(ctx, k3sName, k3sCommand(m.hostname, addr, m.config.Kubernetes.Labels))
		},
	}
}

// addressSettle is how long a new address must stay before Kubernetes is
// started again for it: a lease that comes back with the same address costs
// nothing.
const addressSettle = 5 * time.Second

// restartOnNewAddress starts the services again once the node has another
// address than the one they were started with, for good.
func (m *machine) restartOnNewAddress(ctx context.Context, used netip.Addr) {
	for {
		addr, changed := m.net.nodeAddress()
		if addr.IsValid() && addr != used {
			if !sleep(ctx, addressSettle) {
				return
			}
			if again, _ := m.net.nodeAddress(); again == addr {
				m.restartServices(fmt.Sprintf("the node's address changed from %s to %s", used, addr))
				return
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// k3sCommand is K3s' command line and environment.
func k3sCommand(name string, addr netip.Addr, labels map[string]string) command {
	args := []string{
		"server",
		"--data-dir=" + k3sData,
		"--token-file=" + k3sTokenPath,
		"--node-name=" + name,
		"--node-ip=" + addr.String(),
		"--tls-san=" + name, "--tls-san=127.0.0.1", "--tls-san=localhost",
		"--write-kubeconfig=" + k3sKubeconfig, "--write-kubeconfig-mode=0600",
		"--flannel-backend=none", "--disable-network-policy", "--disable-cloud-controller", "--disable-helm-controller",
		"--disable=traefik,servicelb,local-storage,metrics-server,coredns,runtimes",
		"--egress-selector-mode=disabled",
		"--pause-image=mycelium.os/pause:1",
		// One pod must not take all of the node's process numbers.
		"--kubelet-arg=pod-max-pids=4096",
		// Node ports answer on every address of the node, not on its first alone.
		"--kube-proxy-arg=nodeport-addresses=0.0.0.0/0",
		"--resolv-conf=/run/resolv.conf",
	}
	for _, key := range sortedKeys(labels) {
		args = append(args, "--node-label="+key+"="+labels[key])
	}
	return command{
		path: k3sPath, args: args, oomScore: -999, notify: true,
		env: []string{"PATH=/bin:/sbin:/libexec/cni", "HOME=/", "TMPDIR=/var/tmp", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "CONTAINERD_GOGC=40"},
	}
}

// Files of the root that must stand where they can be written to.
const (
	cniTemplate = "/share/cni/10-mycelium.conflist"
	rootImages  = "/share/images"
)

// placeFiles puts the pod network's configuration and the container images that
// the root carries where K3s looks for them.
func placeFiles() error {
	if err := copyFile(cniTemplate, filepath.Join(cniDir, filepath.Base(cniTemplate))); err != nil {
		return fmt.Errorf("configure the pod network: %w", err)
	}
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

func sortedKeys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
