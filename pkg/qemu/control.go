package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// quitGrace is how long QEMU may take to end after its monitor or the kernel
// has told it to.
const quitGrace = 5 * time.Second

// Kill ends QEMU with SIGKILL: a power cut. It returns when QEMU is gone; a
// machine that does not run is no error.
func (n *Node) Kill(ctx context.Context) error {
	r, err := readRun(n.path(processFile))
	if err == nil {
		err = r.signal(unix.SIGKILL)
	}
	if err == nil {
		err = r.wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("kill node %s: %w", n.name, err)
	}
	return nil
}

// PressPower presses the power button (ACPI) and does not wait for what the
// machine makes of it.
func (n *Node) PressPower(ctx context.Context) error {
	_, err := n.Monitor(ctx, "system_powerdown", nil)
	return err
}

// PowerDown presses the power button and waits until the machine is off. It
// presses again now and then, because firmware does not heed the button.
func (n *Node) PowerDown(ctx context.Context) error {
	const again = 15 * time.Second
	for {
		err := n.PressPower(ctx)
		if running, runErr := n.Running(); runErr != nil {
			return runErr
		} else if !running {
			return nil
		}
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, again)
		err = n.Wait(limited)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// Stop powers the machine down and, when it is not off after grace, ends QEMU
// all the same; forced reports that. A machine that does not run is no error.
func (n *Node) Stop(ctx context.Context, grace time.Duration) (forced bool, err error) {
	running, err := n.Running()
	if err != nil || !running {
		return false, err
	}
	limited, cancel := context.WithTimeout(ctx, grace)
	err = n.PowerDown(limited)
	cancel()
	if err == nil {
		return false, nil
	}
	ctx = context.WithoutCancel(ctx) // whoever gave up waiting still wants it stopped
	return true, n.quit(ctx)
}

// quit ends QEMU by its monitor, and by SIGKILL when that does not serve.
func (n *Node) quit(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, quitGrace)
	defer cancel()
	_, quitErr := n.Monitor(limited, "quit", nil)
	if n.Wait(limited) == nil {
		return nil // the answer to quit may be lost with QEMU
	}
	limited, cancel = context.WithTimeout(ctx, quitGrace)
	defer cancel()
	if err := n.Kill(limited); err != nil {
		return errors.Join(quitErr, err)
	}
	return nil
}

// Reset presses the reset button: the machine starts again at once, without
// any shutdown, in the same QEMU.
func (n *Node) Reset(ctx context.Context) error {
	_, err := n.Monitor(ctx, "system_reset", nil)
	return err
}

// SetLink plugs (up) or pulls the cable of the interface WAN or LAN.
func (n *Node) SetLink(ctx context.Context, nic string, up bool) error {
	_, err := n.Monitor(ctx, "set_link", map[string]any{"name": nic, "up": up})
	return err
}

// Pause stops the machine's processors, Resume lets them go on.
func (n *Node) Pause(ctx context.Context) error {
	_, err := n.Monitor(ctx, "stop", nil)
	return err
}

// Resume undoes Pause.
func (n *Node) Resume(ctx context.Context) error {
	_, err := n.Monitor(ctx, "cont", nil)
	return err
}

// Screenshot writes what the machine's screen shows to path, a PNG.
func (n *Node) Screenshot(ctx context.Context, path string) error {
	_, err := n.Monitor(ctx, "screendump", map[string]any{"filename": path, "format": "png"})
	return err
}

// Monitor runs one command of QEMU's machine protocol and returns what it
// returned.
func (n *Node) Monitor(ctx context.Context, command string, args any) (json.RawMessage, error) {
	conn, err := dialUnix(ctx, n.path(qmpSock))
	if err != nil {
		return nil, fmt.Errorf("node %s: QEMU's monitor: %w", n.name, err)
	}
	m, err := newMonitor(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", n.name, err)
	}
	answer, err := m.Execute(ctx, command, args)
	if closeErr := m.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", n.name, err)
	}
	return answer, nil
}
