package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/install"
	"github.com/digital-mycelium/os/cmd/init/internal/kube"
	"github.com/digital-mycelium/os/cmd/init/internal/kubeproxy"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

// uploadDir holds image archives while they arrive, on the file system of the
// image store and outside of it: K3s reads whatever appears there.
const uploadDir = "/var/lib/mycelium/upload"

// apiNode is the machine as the machine API sees it.
type apiNode struct{ m *machine }

func (n apiNode) Events() api.EventLog                        { return n.m.console.events }
func (n apiNode) Processes() ([]api.Process, error)           { return n.m.processes() }
func (n apiNode) Time() api.TimeStatus                        { return n.m.timeStatus() }
func (n apiNode) LogNames() []string                          { return n.m.logs.Names() }
func (n apiNode) Metrics() string                             { return n.m.metrics() }
func (n apiNode) RestartService(name string) error            { return n.m.restartService(name) }
func (n apiNode) Reboot()                                     { n.m.request(actionReboot) }
func (n apiNode) Shutdown()                                   { n.m.request(actionPowerOff) }
func (n apiNode) Reset(s api.ResetScope, shutdown bool) error { return n.m.reset(s, shutdown) }

func (n apiNode) SupportBundle(c context.Context, w io.Writer) error { return n.m.supportBundle(c, w) }
func (n apiNode) Configuration() ([]byte, string, error)             { return n.m.configuration() }

// Install installs the system and arranges what comes after.
func (n apiNode) Install(ctx context.Context, o api.InstallOptions, progress func(api.InstallProgress)) error {
	err := n.m.install(ctx, installRequest{Order: install.Order{Disk: o.Disk, Wipe: o.Wipe}, progress: progress})
	if err == nil {
		n.m.afterInstall(o.After)
	}
	return err
}

// Updates returns nil, and not an interface that holds one, on a machine that cannot
// be updated in place.
func (n apiNode) Updates() api.Updates {
	if n.m.updates == nil {
		return nil
	}
	return n.m.updates
}

func (n apiNode) ApplyConfiguration(ctx context.Context, document []byte, dryRun bool) ([]config.Change, error) {
	return n.m.applyConfiguration(ctx, document, dryRun)
}

func (n apiNode) Status() (api.Status, <-chan struct{}) {
	s, changed := n.m.board.Get()
	s.Time.Now = time.Now()
	return s, changed
}

func (n apiNode) Log(name string) (api.Log, error) {
	ring, ok := n.m.logs.Lookup(name)
	if !ok {
		return nil, fmt.Errorf("log %q: %w", name, api.ErrNotFound)
	}
	return ring, nil
}

// Kubeconfig leads to Kubernetes through this node's machine API.
func (n apiNode) Kubeconfig() ([]byte, error) {
	if s, _ := n.m.board.Get(); s.Membership.Role != identity.Server.String() {
		return nil, fmt.Errorf("this node is no server: ask one for the way to Kubernetes: %w", api.ErrNotFound)
	}
	certificate, err := n.m.member.KubernetesCertificate()
	if err != nil {
		return nil, err
	}
	address, _ := n.m.net.nodeAddress()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	return kubeconfigFor(fmt.Sprintf("%s:%d", address, api.Port), ca), nil
}

// kubernetesProxy serves Kubernetes to members.
func (m *machine) kubernetesProxy() http.Handler {
	return kubeproxy.New(kubeproxy.Config{
		Credentials: kube.NewSource(k3sKubeconfig).Credentials,
		Caller: func(ctx context.Context) (name, key string, role identity.APIRole) {
			c := api.Caller(ctx)
			return c.Name, c.Key.String(), c.Caps.API
		},
		Log: m.log.With("part", "kubernetes proxy"),
	})
}

// PutImage stores an archive such that the image store holds the whole file or
// nothing of it.
func (n apiNode) PutImage(_ context.Context, name string, r io.Reader) (err error) {
	if !api.ValidImageName(name) {
		return fmt.Errorf("%w: %q is no name of an image archive", api.ErrInvalid, name)
	}
	for _, dir := range []string{uploadDir, imagesDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return asFull(err)
		}
	}
	f, err := os.CreateTemp(uploadDir, name+".")
	if err != nil {
		return asFull(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err := io.Copy(f, r); err != nil {
		return asFull(fmt.Errorf("receive the image: %w", err))
	}
	if err := f.Sync(); err != nil {
		return asFull(err)
	}
	if err := os.Rename(f.Name(), filepath.Join(imagesDir, name)); err != nil {
		return err
	}
	return f.Close()
}

// asFull marks errors of a full disk, which have a status of their own.
func asFull(err error) error {
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%w: %w", api.ErrFull, err)
	}
	return err
}
