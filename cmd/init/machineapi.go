package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/pkg/api"
)

// uploadDir holds image archives while they arrive, on the file system of the
// image store and outside of it: K3s reads whatever appears there.
const uploadDir = "/var/lib/mycelium/upload"

// serveMachineAPI listens when the configuration says whose clients to answer.
func (m *machine) serveMachineAPI(ctx context.Context) error {
	c := m.config.API
	if !c.Enabled() {
		m.log.Info("no machine API: the configuration has no section api")
		return nil
	}
	server, err := api.NewServer(api.ServerConfig{CA: []byte(c.CA), Certificate: []byte(c.Certificate), Key: []byte(c.Key.Reveal())}, apiNode{m}, m.log)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(uploadDir); err != nil { // left by a power cut
		m.log.Warn("cannot delete unfinished uploads", "error", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", ":"+strconv.Itoa(api.Port))
	if err != nil {
		return err
	}
	m.spawn(func() {
		if err := server.Serve(ctx, l); err != nil {
			m.board.SetProblem("api", err.Error())
		}
	})
	return nil
}

// apiNode is the machine as the machine API sees it.
type apiNode struct{ m *machine }

func (n apiNode) LogNames() []string { return n.m.logs.Names() }
func (n apiNode) Reboot()            { n.m.request(actionReboot) }
func (n apiNode) Shutdown()          { n.m.request(actionPowerOff) }

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

func (n apiNode) Kubeconfig() ([]byte, error) {
	b, err := os.ReadFile(k3sKubeconfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("kubernetes has not started: %w", api.ErrNotYet)
	}
	return b, err
}

// PutImage stores an archive such that the image store holds the whole file or
// nothing of it.
func (n apiNode) PutImage(_ context.Context, name string, r io.Reader) (err error) {
	if !api.ValidImageName(name) {
		return fmt.Errorf("%q is no name of an image archive", name)
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
