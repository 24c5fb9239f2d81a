package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/digital-mycelium/os/pkg/qemu"
)

// consoleEvery is how often the console's file is looked at: the error of a
// time stamp that comes from the console.
const consoleEvery = 20 * time.Millisecond

// machine is one machine that runs and whose console is followed.
type machine struct {
	*qemu.Node
	// Started is when QEMU was started.
	Started time.Time
	Console *console

	stopFollowing context.CancelFunc
	followed      chan struct{}
}

// probeSocket is the Debian side's second serial port, in the machine's directory.
const probeSocket = "probe.sock"

// startMachine starts what spec describes and follows its console.
func startMachine(ctx context.Context, spec qemu.NodeSpec) (*machine, error) {
	node, err := qemu.Start(ctx, spec)
	if err != nil {
		return nil, err
	}
	started, err := processStart(node.PID())
	if err != nil {
		return nil, errors.Join(err, node.Kill(ctx))
	}
	ctx, cancel := context.WithCancel(ctx)
	m := &machine{
		Node: node, Started: started, Console: &console{},
		stopFollowing: cancel, followed: make(chan struct{}),
	}
	go m.follow(ctx)
	return m, nil
}

// processStart returns when the process pid was created: its directory in
// /proc is as old as it.
func processStart(pid int) (time.Time, error) {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return time.Time{}, fmt.Errorf("QEMU ended at once: %w", err)
	}
	return info.ModTime(), nil
}

// follow reads the console's file until ctx ends.
func (m *machine) follow(ctx context.Context) {
	defer close(m.followed)
	tick := time.NewTicker(consoleEvery)
	defer tick.Stop()
	for offset := int64(0); ; {
		if piece, err := m.ConsoleFrom(offset); err == nil {
			m.Console.add(time.Now(), piece)
			offset += int64(len(piece))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// stop ends the machine and removes its disk; its logs stay.
func (m *machine) stop(ctx context.Context) error {
	err := m.Kill(ctx)
	m.stopFollowing()
	<-m.followed
	return errors.Join(err, os.Remove(m.DiskPath()))
}

// marks returns what the console shows of the boot; PID 1 must have spoken.
func (m *machine) marks() (bootMarks, error) {
	marks := findMarks(m.Console.snapshot())
	if marks.Init.IsZero() {
		return marks, fmt.Errorf("the console has no line of PID 1: see %s", m.ConsolePath())
	}
	return marks, nil
}

// waitLine waits until a line of the console contains text. A port that is
// asked before something listens there may swallow the question for seconds.
func (m *machine) waitLine(ctx context.Context, text string) error {
	for {
		for _, l := range m.Console.snapshot() {
			if strings.Contains(l.Text, text) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %q on the console (see %s): %w", text, m.ConsolePath(), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// probe is a connection to the Debian side's second serial port.
type probe struct {
	conn  net.Conn
	reply *bufio.Reader
}

// dialProbe connects to the port; something answers there once the machine has
// started its probe.
func (m *machine) dialProbe(ctx context.Context) (*probe, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(m.Spec().Dir, probeSocket))
	if err != nil {
		return nil, err
	}
	return &probe{conn: conn, reply: bufio.NewReader(conn)}, nil
}

// Close ends the connection.
func (p *probe) Close() error { return p.conn.Close() }

// ask sends a command and returns the answer. What an earlier command left
// unread is skipped up to where this one's answer begins.
func (p *probe) ask(command string, timeout time.Duration) (string, error) {
	if err := p.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(p.conn, command+"\n"); err != nil {
		return "", fmt.Errorf("ask the probe for %s: %w", command, err)
	}
	var answer strings.Builder
	for {
		line, err := p.reply.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("read the probe's answer to %s: %w", command, err)
		}
		switch line = strings.TrimRight(line, "\r\n"); line {
		case "begin " + command:
			answer.Reset()
		case "end " + command:
			return answer.String(), nil
		default:
			answer.WriteString(line + "\n")
		}
	}
}
