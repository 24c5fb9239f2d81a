package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Node is one machine: its directory, and QEMU while it runs. It is safe for
// concurrent use, but only one process at a time may start it.
type Node struct {
	name, dir string

	mu   sync.Mutex
	spec NodeSpec
}

// Start makes the machine that spec describes, or takes up the one whose disk
// is in spec.Dir, and starts it. QEMU goes on when the calling process ends.
func Start(ctx context.Context, spec NodeSpec) (*Node, error) {
	n, err := newNode(spec)
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

func newNode(spec NodeSpec) (*Node, error) {
	spec = spec.withDefaults()
	if err := spec.validate(); err != nil {
		return nil, err
	}
	var err error
	if spec.Dir, err = filepath.Abs(spec.Dir); err != nil {
		return nil, err
	}
	return &Node{name: spec.Name, dir: spec.Dir, spec: spec}, nil
}

// Open takes up the machine in dir, running or not.
func Open(dir string) (*Node, error) {
	data, err := os.ReadFile(filepath.Join(dir, specFile))
	if err != nil {
		return nil, fmt.Errorf("open the machine in %s: %w", dir, err)
	}
	var spec NodeSpec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("open the machine in %s: %w", dir, err)
	}
	spec.Dir = dir
	spec.Config, err = os.ReadFile(filepath.Join(dir, configFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the machine in %s: %w", dir, err)
	}
	return newNode(spec)
}

// Name returns the node's name.
func (n *Node) Name() string { return n.name }

// Spec returns what the machine was started with, defaults filled in.
func (n *Node) Spec() NodeSpec {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.spec
	s.Forwards = append([]Forward(nil), s.Forwards...)
	return s
}

// Change changes what the next Start starts the machine with: memory, clock,
// arguments and the like. What the disk holds stays.
func (n *Node) Change(change func(*NodeSpec)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.spec
	change(&s)
	if err := s.validate(); err != nil {
		return err
	}
	n.spec = s
	return nil
}

// path returns the path of a file in the node's directory.
func (n *Node) path(name string) string { return filepath.Join(n.dir, name) }

// WriteLogPath returns the file that holds what the machine wrote since it was last
// started; see NodeSpec.RecordWrites.
func (n *Node) WriteLogPath() string { return n.path(writeLogFile) }

// DiskPath returns the raw image of the machine's disk. Only a stopped
// machine's disk may be written to.
func (n *Node) DiskPath() string { return n.path(diskFile) }

// Address returns the host's address ("127.0.0.1:port") that guest's TCP port
// is forwarded from.
func (n *Node) Address(guest int) (string, error) {
	for _, f := range n.Spec().Forwards {
		if f.Guest == guest && f.Host != 0 {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(f.Host)), nil
		}
	}
	return "", fmt.Errorf("port %d of node %s is not forwarded to the host", guest, n.name)
}

// Running reports whether the machine's QEMU runs.
func (n *Node) Running() (bool, error) {
	r, err := readRun(n.path(processFile))
	if err != nil {
		return false, err
	}
	return r.running()
}

// PID returns QEMU's process number, 0 when the machine does not run.
func (n *Node) PID() int {
	r, err := readRun(n.path(processFile))
	if err != nil {
		return 0
	}
	if ok, err := r.running(); err != nil || !ok {
		return 0
	}
	return r.PID
}

// Wait returns when the machine has ended, or with ctx's error.
func (n *Node) Wait(ctx context.Context) error {
	r, err := readRun(n.path(processFile))
	if err != nil {
		return err
	}
	if err := r.wait(ctx); err != nil {
		return fmt.Errorf("wait for the end of node %s: %w", n.name, err)
	}
	return nil
}
