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
	t              testing.TB
	taps           int
}

// Namespace is a computer on a segment, as far as programs see its network.
type Namespace struct {
	// Interface is its interface on the segment.
	Interface string
	pid       int
}

// Prefix is the segment's network: the server is .1, the router .2.
const Prefix = "192.168.77."

// NewSegment makes a segment, which is gone when the test ends.
func NewSegment(t testing.TB) (*Segment, error) {
	for _, tool := range []string{"unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: apt-get install util-linux iproute2", err)
		}
	}
	s := &Segment{t: t}
	var err error
	if s.Server, err = hold(t, exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--net", "sleep", "infinity")); err != nil {
		return nil, err
	}
	s.Server.Interface = "boot0"
	if s.Router, err = hold(t, s.Server.Command(t.Context(), "unshare", "--net", "sleep", "infinity")); err != nil {
		return nil, err
	}
	s.Router.Interface = "eth0"
	// The bridge stands in the server's namespace and is none of its interfaces:
	// what the server listens on is a cable to it, as the router's.
	for _, line := range []string{
		"link set lo up",
		"link add segment type bridge",
		"link set segment up",
		"link add boot0 type veth peer name port0",
		"link set port0 master segment up",
		"link set boot0 up",
		"address add " + Prefix + "1/24 dev boot0",
		"link add port1 type veth peer name eth0 netns " + strconv.Itoa(s.Router.pid),
		"link set port1 master segment up",
	} {
		if err := s.Server.ip(t.Context(), line); err != nil {
			return nil, err
		}
	}
	for _, line := range []string{"link set lo up", "link set eth0 up", "address add " + Prefix + "2/24 dev eth0"} {
		if err := s.Router.ip(t.Context(), line); err != nil {
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
		return err == nil && strings.Count(string(out), "\n") == 1, string(out) + said.String(), nil // lo alone: no longer the namespace that it came from
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
// "-netdev tap" in the server's namespace.
func (s *Segment) Tap(ctx context.Context) (string, error) {
	name := fmt.Sprintf("tap%d", s.taps)
	s.taps++
	return name, errors.Join(
		s.Server.ip(ctx, "tuntap add dev "+name+" mode tap"),
		s.Server.ip(ctx, "link set "+name+" master segment up"),
	)
}
