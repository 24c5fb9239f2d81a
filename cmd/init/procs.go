package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// procs starts processes and buries the orphans that PID 1 inherits, without
// taking the exit status of a process that somebody here waits for.
type procs struct {
	mu  sync.Mutex
	own map[int]bool // started by us and not yet waited for
}

func newProcs() *procs {
	// os looks once whether pidfds work, by starting and awaiting a child: let it
	// do so before there is anyone who might bury that child.
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Release()
	}
	return &procs{own: map[int]bool{}}
}

// start starts cmd. The caller calls wait exactly once.
func (p *procs) start(cmd *exec.Cmd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	p.own[cmd.Process.Pid] = true
	return nil
}

// wait waits for the end of a command that start started.
func (p *procs) wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.own, cmd.Process.Pid)
	return err
}

// output runs cmd and returns what it printed.
func (p *procs) output(cmd *exec.Cmd) ([]byte, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := p.start(cmd); err != nil {
		return nil, err
	}
	err := p.wait(cmd)
	return out.Bytes(), err
}

// reap buries orphans until ctx ends.
func (p *procs) reap(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	defer signal.Stop(signals)
	for {
		for p.reapOne() {
		}
		select {
		case <-ctx.Done():
			return
		case <-signals:
		case <-time.After(time.Second): // one that hid behind one of ours
		}
	}
}

// reapOne buries one orphan; false when there is none, or when one of our own
// children, which its starter will wait for, stands before it.
func (p *procs) reapOne() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var info unix.Siginfo
	err := waitid(&info)
	pid := siginfoPID(&info)
	if err != nil || pid == 0 || p.own[pid] {
		return false
	}
	_, err = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	return err == nil || errors.Is(err, unix.EINTR)
}

// waitid looks at one child that has ended and leaves it as it is.
func waitid(info *unix.Siginfo) error {
	for {
		err := unix.Waitid(unix.P_ALL, 0, info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
