package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startTimeout is how long QEMU may take until its monitor answers.
const startTimeout = 30 * time.Second

// portTries is how often a start is tried again because another program has
// taken a chosen port in between.
const portTries = 3

// run is a started QEMU.
type run struct {
	process
	// Console is where in the serial log this run begins, in bytes.
	Console int64 `json:"console"`
	// Since is when it was started.
	Since time.Time `json:"since"`
}

func readRun(path string) (run, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return run{}, nil
	}
	if err != nil {
		return run{}, fmt.Errorf("read the process record: %w", err)
	}
	var r run
	if err := json.Unmarshal(data, &r); err != nil {
		return run{}, fmt.Errorf("read the process record %s: %w", path, err)
	}
	return r, nil
}

func writeRun(path string, r run) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeFile(path, append(data, '\n'))
}

// errPortTaken says that QEMU could not bind a forwarded port.
var errPortTaken = errors.New("a forwarded port is taken")

// Start starts the machine with the disk it has. It is an error when it runs.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.start(ctx); err != nil {
		return fmt.Errorf("start node %s: %w", n.name, err)
	}
	return nil
}

func (n *Node) start(ctx context.Context) error {
	if err := os.MkdirAll(n.spec.Dir, 0o700); err != nil {
		return err
	}
	if running, err := n.Running(); err != nil {
		return err
	} else if running {
		return errors.New("it runs already")
	}
	spec := n.spec
	var err error
	if spec.Host, err = spec.Host.resolve(spec.Arch, spec.Firmware); err != nil {
		return err
	}
	if spec.Acceleration == "" {
		if spec.Acceleration, _, err = DetectAcceleration(ctx, spec.Arch, spec.Host, ""); err != nil {
			return err
		}
	}
	l, err := prepare(spec)
	if err != nil {
		return err
	}
	asked := spec.Forwards
	for try := 1; ; try++ {
		if spec.Forwards, err = choosePorts(ctx, asked); err != nil {
			return err
		}
		err = n.launch(ctx, spec, l)
		if !errors.Is(err, errPortTaken) || try == portTries {
			break
		}
		asked = releaseTaken(ctx, asked)
	}
	if err != nil {
		return err
	}
	n.spec = spec
	return nil
}

// releaseTaken gives up the host ports that something else listens on.
func releaseTaken(ctx context.Context, forwards []Forward) []Forward {
	out := append([]Forward(nil), forwards...)
	for i, f := range out {
		if f.Host != 0 && !f.Fixed && !portFree(ctx, f.Host) {
			out[i].Host = 0
		}
	}
	return out
}

// prepare makes the files that QEMU will ask for.
func prepare(s NodeSpec) (layout, error) {
	esp, err := prepareDisk(s)
	if err != nil {
		return layout{}, err
	}
	l := layout{esp: esp, config: len(s.Config) > 0}
	if s.RecordWrites {
		if err := os.WriteFile(s.file(writeLogFile), nil, 0o600); err != nil {
			return layout{}, fmt.Errorf("begin the log of writes: %w", err)
		}
	}
	if _, err := os.Stat(s.file(varsFile)); s.Firmware.flash() && errors.Is(err, fs.ErrNotExist) {
		if err := copySparse(s.file(varsFile), s.Host.FirmwareVars, 0); err != nil {
			return layout{}, err
		}
	}
	return l, nil
}

// launch starts QEMU and returns when its monitor answers.
func (n *Node) launch(ctx context.Context, s NodeSpec, l layout) error {
	output, err := os.OpenFile(s.file(outputFile), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	console, err := fileSize(s.file(serialFile))
	if err != nil {
		return err
	}
	if err := saveSpec(s); err != nil {
		return err
	}
	// QEMU outlives ctx: another command ends it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.Host.Binary, arguments(s, l)...)
	cmd.Dir = s.Dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// QEMU must not take over what this process inherited without knowing, such
	// as a lock's or a pipe's descriptor, which it would hold for as long as it runs.
	if err := closeOnExec(); err != nil {
		return fmt.Errorf("keep open files from QEMU: %w", err)
	}
	since := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	p, idErr := identify(cmd.Process.Pid)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // also takes the ended process off the table
	if idErr == nil {
		idErr = writeRun(s.file(processFile), run{process: p, Console: console, Since: since})
	}
	if idErr == nil {
		idErr = awaitMonitor(ctx, s.file(qmpSock), ended)
	}
	if idErr == nil {
		return nil
	}
	if errors.Is(idErr, errGone) || errors.Is(idErr, errEnded) {
		return outputError(s.file(outputFile), idErr)
	}
	return errors.Join(idErr, p.signal(unix.SIGKILL), p.wait(context.WithoutCancel(ctx)))
}

// errEnded says that QEMU ended before its monitor answered.
var errEnded = errors.New("QEMU ended at once")

// awaitMonitor tries QEMU's monitor until it answers.
func awaitMonitor(ctx context.Context, socket string, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := dialUnix(ctx, socket)
		if err == nil {
			m, err := newMonitor(ctx, conn)
			if err == nil {
				return m.Close()
			}
		}
		select {
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("wait for QEMU's monitor: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// outputError adds what QEMU said to err.
func outputError(path string, err error) error {
	said, readErr := os.ReadFile(path)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	text := string(bytes.TrimSpace(said))
	if text == "" {
		return fmt.Errorf("%w without a word from QEMU", err)
	}
	if strings.Contains(text, "Could not set up host forwarding rule") {
		return fmt.Errorf("%w: %s", errPortTaken, text)
	}
	return fmt.Errorf("%w; QEMU said: %s", err, text)
}

// save keeps what Open reads.
func (n *Node) save() error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	return saveSpec(n.Spec())
}

func saveSpec(s NodeSpec) error {
	if len(s.Config) > 0 {
		if err := writeFile(s.file(configFile), s.Config); err != nil {
			return err
		}
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(s.file(specFile), append(data, '\n'))
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
