package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/supervise"
)

// command is what a service runs.
type command struct {
	path string
	args []string
	env  []string
	// oomScore is the process' oom_score_adj.
	oomScore int
	// notify gives it a NOTIFY_SOCKET (sd_notify(3)).
	notify bool
}

// startServices starts everything that runs beside the boot, and the services.
func (m *machine) startServices(ctx context.Context) error {
	m.spawn(func() { m.procs.reap(ctx) })
	m.measure()
	m.spawn(func() { m.announce(ctx) })
	m.spawn(func() { m.dashboard(ctx) })
	if m.askOn != nil {
		m.spawn(m.askOn)
	}
	m.watchPower(ctx)
	m.offerInstall(ctx)
	if err := os.RemoveAll(uploadDir); err != nil { // left by a power cut
		m.log.Warn("cannot delete unfinished uploads", "error", err)
	}
	if m.updates != nil {
		m.spawn(func() { m.updates.Run(ctx) })
	}
	if m.member == nil {
		return nil // the phase before has said why; Kubernetes is for members
	}
	m.spawn(func() { m.runMembership(ctx) })
	m.supervise(m.k3sSpec())
	m.spawn(func() { m.followCluster(ctx) })
	return nil
}

// supervise keeps a service alive until the shutdown.
func (m *machine) supervise(spec supervise.Spec) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s := supervise.New(spec, m.log, func(supervise.Status) { m.publishServices() })
	m.mu.Lock()
	m.services = append(m.services, s)
	m.stop = append([]func(){func() { cancel(); <-done }}, m.stop...)
	m.mu.Unlock()
	m.spawn(func() { defer close(done); s.Run(ctx) })
}

func (m *machine) publishServices() {
	m.mu.Lock()
	list := make([]api.Service, len(m.services))
	for i, s := range m.services {
		st := s.Status()
		list[i] = api.Service{Name: st.Name, State: st.State, PID: st.PID, Restarts: st.Restarts, Since: st.Since, LastError: st.LastError}
	}
	m.mu.Unlock()
	m.board.Update(func(s *api.Status) {
		s.Services = list
		if s.Kubernetes.APIUp && slices.ContainsFunc(list, notRunningK3s) {
			s.Kubernetes.APIUp, s.Kubernetes.NodeReady = false, false
			s.Kubernetes.Reason = "Kubernetes ended and is started again"
		}
	})
}

// notRunningK3s reports whether s is Kubernetes, between two lives.
func notRunningK3s(s api.Service) bool { return s.Name == k3sName && s.State != supervise.Running }

// restartServices starts the running services again.
func (m *machine) restartServices(reason string) {
	m.mu.Lock()
	services := m.services
	m.mu.Unlock()
	for _, s := range services {
		s.Restart(reason)
	}
}

// process is a running service.
type process struct {
	m     *machine
	cmd   *exec.Cmd
	ready chan struct{}
	stop  func() // ends what listens for readiness
}

func (p *process) PID() int               { return p.cmd.Process.Pid }
func (p *process) Ready() <-chan struct{} { return p.ready }

func (p *process) Wait() error {
	err := p.m.procs.wait(p.cmd)
	p.stop()
	return err
}

func (p *process) Signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// startProcess starts c as the service name: in its own cgroup and session,
// its output in the log of that name. Processes that it leaves behind (the
// shims of containers) keep running.
func (m *machine) startProcess(ctx context.Context, name string, c command) (supervise.Process, error) {
	group, err := serviceCgroup(name)
	if err != nil {
		return nil, err
	}
	defer group.Close()
	// A pipe of our own: Wait must not wait for who else inherited it.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for the log: %w", err)
	}
	// Not by ctx: the supervisor ends it, in order.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), c.path, c.args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.env, "/", w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(group.Fd())}
	p := &process{m: m, cmd: cmd, stop: func() {}}
	if c.notify {
		socket, err := listenNotify(ctx, name)
		if err != nil {
			return nil, errors.Join(err, r.Close(), w.Close())
		}
		p.ready = make(chan struct{})
		p.stop = sync.OnceFunc(func() { _ = socket.Close() })
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket.LocalAddr().String())
		m.spawn(func() { awaitReady(socket, p.ready) })
	}
	if err := m.procs.start(cmd); err != nil {
		p.stop()
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	_ = w.Close()
	m.spawn(func() { m.copyLog(name, r) })
	score := filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "oom_score_adj")
	if err := os.WriteFile(score, []byte(strconv.Itoa(c.oomScore)), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("cannot set the out-of-memory score", "service", name, "error", err)
	}
	return p, nil
}

// copyLog copies a service's output into its log until every process that has
// the pipe has ended.
func (m *machine) copyLog(name string, r *os.File) {
	defer r.Close()
	ring := m.logs.Get(name)
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		_, _ = ring.Write(buf[:n])
		if err != nil {
			return
		}
	}
}

// listenNotify opens the socket that a service reports its readiness on.
func listenNotify(ctx context.Context, name string) (net.PacketConn, error) {
	path := "/run/notify-" + name
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make the notify socket: %w", err)
	}
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "unixgram", path)
	if err != nil {
		return nil, fmt.Errorf("make the notify socket: %w", err)
	}
	return conn, nil
}

// awaitReady closes ready at the first READY=1 and returns when the socket is
// closed.
func awaitReady(conn net.PacketConn, ready chan<- struct{}) {
	buf := make([]byte, 4096)
	for done := false; ; {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if !done && isReady(string(buf[:n])) {
			done = true
			close(ready)
		}
	}
}

// isReady finds READY=1 among the assignments of an sd_notify message.
func isReady(message string) bool {
	for s := bufio.NewScanner(strings.NewReader(message)); s.Scan(); {
		if s.Text() == "READY=1" {
			return true
		}
	}
	return false
}
