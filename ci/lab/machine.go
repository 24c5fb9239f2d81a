package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// ReadyTimeout bounds a boot until the node is Ready. Under plain emulation on
// two busy processors a boot takes about a minute.
const ReadyTimeout = 6 * time.Minute

// Machine is one machine with the image under test.
type Machine struct {
	*qemu.Node
	network *qemu.Network
	suite   *Suite
}

// MachineSpec describes machines. Zero values mean the defaults of [qemu.NodeSpec].
type MachineSpec struct {
	// Name is a DNS label.
	Name string
	// Nodes is how many machines share a LAN and a network; default 1. The first
	// Servers of them are servers, default 1, the others agents.
	Nodes, Servers int
	// Identity is the network that they become members of; default: one that is
	// founded for them and removed with them.
	Identity qemu.Identity
	// Config is the machines' configuration; default: the product's default.
	Config *config.Config
	// Node is the hardware.
	Node qemu.NodeSpec
}

// Machines makes machines and starts none. When the test ends they are
// recorded if it failed, killed, and removed.
func (s *Suite) Machines(t testing.TB, spec MachineSpec) []*Machine {
	t.Helper()
	if spec.Node.Image == "" {
		spec.Node.Image = s.Image
	}
	if spec.Node.DiskBytes == 0 {
		spec.Node.DiskBytes = 8 << 30
	}
	dir := filepath.Join(s.Out, runDir, spec.Name)
	network, err := s.network(dir, spec)
	if err != nil {
		t.Fatalf("make machines: %v", err)
	}
	var machines []*Machine
	for _, node := range network.Nodes() {
		machines = append(machines, &Machine{Node: node, network: network, suite: s})
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		for _, m := range machines {
			if t.Failed() {
				m.Record(ctx, t)
			}
			if s.Keep {
				_ = m.Pause(ctx) // one that is off has nothing to pause
				continue
			}
			if err := m.Kill(ctx); err != nil {
				t.Error(err)
			}
		}
		if s.Keep {
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return machines
}

// network makes a network of machines, or takes up the one that was kept.
func (s *Suite) network(dir string, spec MachineSpec) (*qemu.Network, error) {
	if s.Keep {
		network, err := qemu.OpenNetwork(dir)
		if !errors.Is(err, fs.ErrNotExist) {
			return network, err
		}
	}
	return qemu.Create(context.Background(), dir, qemu.NetworkSpec{
		Name: spec.Name, Nodes: max(spec.Nodes, 1), Servers: spec.Servers, Identity: spec.Identity, Node: spec.Node, Config: spec.Config,
	})
}

// Machine makes one machine; see [Suite.Machines].
func (s *Suite) Machine(t testing.TB, spec MachineSpec) *Machine {
	t.Helper()
	return s.Machines(t, spec)[0]
}

// runDir is the folder of running machines within Suite.Out.
const runDir = "machines"

// Sweep ends and removes machines that an earlier, interrupted run left.
func (s *Suite) Sweep(ctx context.Context) error {
	if s.Keep {
		return nil
	}
	root := filepath.Join(s.Out, runDir)
	names, err := qemu.ListNetworks(root)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		network, err := qemu.OpenNetwork(filepath.Join(root, name))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, node := range network.Nodes() {
			errs = append(errs, node.Kill(ctx))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(root))...)
}

// Status asks the machine what it knows of itself.
func (m *Machine) Status(ctx context.Context) (*api.Status, error) {
	// A port that the guest does not serve yet accepts and then stays silent.
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	return m.Node.Status(ctx)
}

// WaitStatus waits until the status satisfies done, which also says in words
// what it sees. It fails early when the machine is off.
func (m *Machine) WaitStatus(ctx context.Context, what string, done func(*api.Status) (bool, string)) (*api.Status, error) {
	var last *api.Status
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := Poll(ctx, m.Name()+": "+what, func(ctx context.Context) (bool, string, error) {
		if running, err := m.Running(); err == nil && !running {
			cancel(errors.New("the machine is off"))
		}
		status, err := m.Status(ctx)
		if err != nil {
			return false, "no status", err
		}
		last = status
		ok, state := done(status)
		return ok, state, nil
	})
	if err != nil {
		err = fmt.Errorf("%w; console:\n%s", err, m.tail())
	}
	return last, err
}

// WaitReady waits until the boot is over and the node is Ready.
func (m *Machine) WaitReady(ctx context.Context) (*api.Status, error) {
	limit := m.suite.patience(ReadyTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not Ready within %v", limit))
	defer cancel()
	return m.WaitStatus(ctx, "node Ready", func(s *api.Status) (bool, string) {
		return s.Phase == PhaseRunning && s.Kubernetes.NodeReady,
			fmt.Sprintf("phase %s, Kubernetes %+v, problems %q", s.Phase, s.Kubernetes, s.Problems)
	})
}

// PhaseRunning is the phase of a machine whose boot is over.
const PhaseRunning = "running"

// Network returns what the machine is one of: the machines of one MachineSpec.
func (m *Machine) Network() *qemu.Network { return m.network }

// Enrol makes the running machine a member of its network when it is none: the
// first one founds the cluster, the others join it. It returns when the machine
// answers.
func (m *Machine) Enrol(ctx context.Context) error {
	limit := m.suite.patience(EnrolTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no member within %v", limit))
	defer cancel()
	return m.network.Enrol(ctx, m.Node, nil)
}

// EnrolTimeout bounds a boot until the machine answers as a member.
const EnrolTimeout = 4 * time.Minute

// known reports whether the machine has ever been a member.
func (m *Machine) known() (bool, error) {
	key, err := m.Key()
	return key != identity.PublicKey{}, err
}

// Boot starts the machine, enrols it if it was never a member, and waits until
// its node is Ready. One whose STATE was wiped needs Start, Enrol and WaitReady.
func (m *Machine) Boot(ctx context.Context) (*api.Status, error) {
	if running, err := m.Running(); err == nil && running && m.suite.Keep {
		if err := m.Resume(ctx); err != nil {
			return nil, err
		}
		return m.WaitReady(ctx)
	}
	began := time.Now()
	if err := m.Start(ctx); err != nil {
		return nil, err
	}
	if known, err := m.known(); err != nil {
		return nil, err
	} else if !known {
		if err := m.Enrol(ctx); err != nil {
			return nil, err
		}
	}
	status, err := m.WaitReady(ctx)
	if err == nil {
		m.suite.bootTime.Store(int64(time.Since(began)))
	}
	return status, err
}

// BootAll starts the machines of one MachineSpec as "mycelium qemu up" does and
// waits until all are Ready: the first founds the cluster, the others come by its
// invite.
func BootAll(ctx context.Context, machines []*Machine) error {
	if err := machines[0].network.Start(ctx, qemu.StartOptions{}); err != nil {
		return err
	}
	for _, m := range machines {
		if _, err := m.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// MustBoot is Boot for tests that cannot go on without.
func (m *Machine) MustBoot(t testing.TB) *api.Status {
	t.Helper()
	status, err := m.Boot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// PowerOff presses the power button and waits until the machine is off, at
// most three minutes.
func (m *Machine) PowerOff(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*time.Minute, errors.New("not off three minutes after its power button"))
	defer cancel()
	if err := m.PowerDown(ctx); err != nil {
		return fmt.Errorf("power off: %w (%w); console:\n%s", err, context.Cause(ctx), m.tail())
	}
	return nil
}

// tail is the end of the console, for errors.
func (m *Machine) tail() string {
	log, err := m.ConsoleLog()
	if err != nil {
		return err.Error()
	}
	return qemu.LastLines(log, 15)
}

// Console is what the machine printed since it was last started, without
// what steers terminals.
func (m *Machine) Console(t testing.TB) string {
	t.Helper()
	log, err := m.ConsoleLog()
	if err != nil {
		t.Fatal(err)
	}
	return qemu.Plain(log)
}

// Events are init's lines on the console since the last start.
func (m *Machine) Events() ([]api.ConsoleEvent, error) {
	log, err := m.ConsoleLog()
	if err != nil {
		return nil, err
	}
	return ParseEvents(qemu.Plain(log)), nil
}

// ParseEvents finds init's lines in a console's text.
func ParseEvents(text string) []api.ConsoleEvent {
	var events []api.ConsoleEvent
	for line := range strings.SplitSeq(text, "\n") {
		if event, ok := api.ParseConsole(line); ok {
			events = append(events, event)
		}
	}
	return events
}

// EventCount is how many of init's lines are on the console.
func (m *Machine) EventCount(t testing.TB) int {
	t.Helper()
	events, err := m.Events()
	if err != nil {
		t.Fatal(err)
	}
	return len(events)
}

// WaitEvent waits for a line of init's on the console.
func (m *Machine) WaitEvent(ctx context.Context, what string, match func(api.ConsoleEvent) bool) (api.ConsoleEvent, error) {
	return m.WaitEventAfter(ctx, 0, what, match)
}

// WaitEventAfter is WaitEvent for lines behind the first skip ones.
func (m *Machine) WaitEventAfter(ctx context.Context, skip int, what string, match func(api.ConsoleEvent) bool) (found api.ConsoleEvent, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = Poll(ctx, m.Name()+": "+what+" on the console", func(context.Context) (bool, string, error) {
		running, runErr := m.Running()
		events, err := m.Events()
		if err != nil {
			return false, "", err
		}
		for _, e := range events[min(skip, len(events)):] {
			if match(e) {
				found = e
				return true, "", nil
			}
		}
		if runErr == nil && !running {
			cancel(errors.New("the machine is off"))
		}
		return false, fmt.Sprintf("%d lines", len(events)), nil
	})
	if err != nil {
		err = fmt.Errorf("%w:\n%s", err, m.tail())
	}
	return found, err
}

// LoadImage puts an image archive into the node's image store.
func (m *Machine) LoadImage(ctx context.Context, file string) error {
	client, err := m.Client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := client.LoadImage(ctx, filepath.Base(file), f); err != nil {
		return fmt.Errorf("load %s into %s: %w", file, m.Name(), err)
	}
	return nil
}

// HostPort is the port on 127.0.0.1 that a port of the guest is forwarded
// from; false when it is not forwarded.
func (m *Machine) HostPort(guest int) (int, bool) {
	address, err := m.Address(guest)
	if err != nil {
		return 0, false
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(port)
	return n, err == nil
}
