package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Segment is an Ethernet segment with two computers on it, Server and Router, in
// network namespaces of their own: what runs there sees no other network. It needs
// no root, but a kernel that lets users make namespaces, and /dev/net/tun.
type Segment struct {
	// Server and Router are the computers.
	Server, Router *Namespace
	// Switch is between them, and where machines are plugged in.
	Switch *Namespace
	taps   int
}

// Namespace is a computer as far as programs see its network.
type Namespace struct{ pid int }

// Prefix is the segment's network: the server is .1, the router .2.
const Prefix = "192.168.77."

// SegmentInterface is each computer's interface on the segment.
const SegmentInterface = "eth0"

// NewSegment makes a segment, which is gone when the test ends.
func NewSegment(t testing.TB) (*Segment, error) {
	for _, tool := range []string{"unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: apt-get install util-linux iproute2", err)
		}
	}
	ctx := t.Context()
	s := &Segment{}
	var err error
	if s.Switch, err = hold(t, exec.CommandContext(ctx, "unshare", "--user", "--map-root-user", "--net", "sleep", "infinity")); err != nil {
		return nil, err
	}
	if err := s.Switch.ip(ctx, "link add segment type bridge"); err != nil {
		return nil, err
	}
	if err := s.Switch.ip(ctx, "link set segment up"); err != nil {
		return nil, err
	}
	for i, to := range []**Namespace{&s.Server, &s.Router} {
		n, err := hold(t, s.Switch.Command(ctx, "unshare", "--net", "sleep", "infinity"))
		if err != nil {
			return nil, err
		}
		*to = n
		port := fmt.Sprintf("port%d", i)
		if err := errors.Join(
			s.Switch.ip(ctx, fmt.Sprintf("link add %s type veth peer name %s netns %d", port, SegmentInterface, n.pid)),
			s.Switch.ip(ctx, "link set "+port+" master segment up"),
			n.ip(ctx, "link set lo up"),
			n.ip(ctx, "link set "+SegmentInterface+" up"),
			n.ip(ctx, fmt.Sprintf("address add %s%d/24 dev %s", Prefix, i+1, SegmentInterface)),
		); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// hold starts a program whose namespaces are to be entered.
func hold(t testing.TB, cmd *exec.Cmd) (*Namespace, error) {
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	n := &Namespace{pid: cmd.Process.Pid}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errors.New("no namespaces: does this kernel let users make them?"))
	defer cancel()
	return n, Poll(ctx, "a network namespace", func(ctx context.Context) (bool, string, error) {
		out, err := n.Command(ctx, "ip", "-o", "link").CombinedOutput()
		return err == nil && strings.Count(string(out), "\n") == 1 && strings.Contains(string(out), "state DOWN"), string(out) + said.String(), nil // nothing but lo, still down: no longer the namespace that it came from
	})
}

// Command is a program that runs there.
func (n *Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(n.pid), "--user", "--net", "--preserve-credentials", "--", name}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

func (n *Namespace) ip(ctx context.Context, line string) error {
	if out, err := n.Command(ctx, "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, out)
	}
	return nil
}

// Tap adds a port to the segment and returns its name, for a machine's
// "-netdev tap" in the switch's namespace.
func (s *Segment) Tap(ctx context.Context) (string, error) {
	name := fmt.Sprintf("tap%d", s.taps)
	s.taps++
	return name, errors.Join(
		s.Switch.ip(ctx, "tuntap add dev "+name+" mode tap"),
		s.Switch.ip(ctx, "link set "+name+" master segment up"),
	)
}
