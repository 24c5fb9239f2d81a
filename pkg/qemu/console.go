package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"time"
)

// ConsolePath returns the file that holds all that the machine ever wrote on
// its serial port.
func (n *Node) ConsolePath() string { return n.path(serialFile) }

// ConsoleLog returns what the machine has written on its serial port since it
// was last started.
func (n *Node) ConsoleLog() ([]byte, error) {
	start, err := n.ConsoleStart()
	if err != nil {
		return nil, err
	}
	return n.ConsoleFrom(start)
}

// ConsoleStart returns where in the console file the last start is, in bytes.
func (n *Node) ConsoleStart() (int64, error) {
	r, err := readRun(n.path(processFile))
	return r.Console, err
}

// ConsoleSize returns the console file's present size in bytes, an offset for
// WaitConsoleFrom.
func (n *Node) ConsoleSize() (int64, error) { return fileSize(n.path(serialFile)) }

// ConsoleFrom returns what the console file holds from offset on.
func (n *Node) ConsoleFrom(offset int64) ([]byte, error) {
	f, err := os.Open(n.path(serialFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the console of node %s: %w", n.name, err)
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the console of node %s: %w", n.name, err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read the console of node %s: %w", n.name, err)
	}
	return data, nil
}

// WaitConsole waits until the machine has written a match of re since it was
// last started, and returns the match and its groups.
func (n *Node) WaitConsole(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	start, err := n.ConsoleStart()
	if err != nil {
		return nil, err
	}
	match, _, err := n.WaitConsoleFrom(ctx, start, re)
	return match, err
}

// WaitConsoleFrom is WaitConsole from a place in the console file on. It also
// returns the place after the match. It fails early when QEMU has ended.
func (n *Node) WaitConsoleFrom(ctx context.Context, offset int64, re *regexp.Regexp) ([]string, int64, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		running, err := n.Running() // before reading: what it wrote last still counts
		if err != nil {
			return nil, 0, err
		}
		data, err := n.ConsoleFrom(offset)
		if err != nil {
			return nil, 0, err
		}
		if at := re.FindSubmatchIndex(data); at != nil {
			return groups(data, at), offset + int64(at[1]), nil
		}
		if !running {
			return nil, 0, fmt.Errorf("node %s ended without %q on its console; its last lines:\n%s", n.name, re, LastLines(data, 10))
		}
		select {
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("wait for %q on the console of node %s: %w; its last lines:\n%s",
				re, n.name, ctx.Err(), LastLines(data, 10))
		case <-tick.C:
		}
	}
}

func groups(data []byte, at []int) []string {
	out := make([]string, len(at)/2)
	for i := range out {
		if at[2*i] >= 0 {
			out[i] = string(data[at[2*i]:at[2*i+1]])
		}
	}
	return out
}

// DialConsole connects to the machine's serial port. One caller at a time gets
// through; the caller must close the connection.
func (n *Node) DialConsole(ctx context.Context) (net.Conn, error) {
	conn, err := dialUnix(ctx, n.path(serialSock))
	if err != nil {
		return nil, fmt.Errorf("node %s: serial port: %w", n.name, err)
	}
	return conn, nil
}
