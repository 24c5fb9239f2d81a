package pi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"time"
)

// WatchEnd waits until QEMU, whose monitor is at a socket, says why it ends, or until
// ended has a value, which it puts back.
func WatchEnd(socket string, ended chan error) (reason string, err error) {
	conn, err := dial(socket, ended)
	if err != nil || conn == nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(`{"execute":"qmp_capabilities"}` + "\n")); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		var event struct {
			Event string
			Data  struct{ Reason string }
		}
		if json.Unmarshal(lines.Bytes(), &event) == nil && event.Event == "SHUTDOWN" {
			reason = event.Data.Reason
		}
	}
	return reason, nil // QEMU has closed it
}

// dial tries the socket until QEMU listens; nil when QEMU has ended.
func dial(socket string, ended chan error) (net.Conn, error) {
	var conn net.Conn
	var err error
	for range 600 {
		if conn, err = (&net.Dialer{}).DialContext(context.Background(), "unix", socket); err == nil {
			return conn, nil
		}
		select {
		case err := <-ended:
			ended <- err
			return nil, nil
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("QEMU's monitor does not answer: %w", err)
}

// setRebootFlags is the mailbox' tag by which a system asks for a trial. QEMU does not
// know it, and says so when it is to log what it lacks.
const setRebootFlags = "unhandled tag 0x00038064"

// AskedToTry reports whether the guest, whose QEMU logged what it lacks to path, asked
// the firmware for a trial.
func AskedToTry(path string) (bool, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return bytes.Contains(b, []byte(setRebootFlags)), err
}

// PutConfig writes the machine's configuration to the boot partition of a disk image.
func PutConfig(ctx context.Context, path string, config []byte) error {
	return putFile(ctx, path, "mycelium.yaml", config)
}

// putFile writes a file on the boot partition of a disk image.
func putFile(ctx context.Context, path, name string, content []byte) error {
	d, err := openDisk(ctx, path)
	if err != nil {
		return err
	}
	p, err := d.fat(1)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "mcopy", "-o", "-i", fmt.Sprintf("%s@@%d", path, p.Start*512), "-", "::"+name)
	cmd.Stdin = bytes.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("write %s: mcopy: %w: %s", name, err, out)
	}
	return nil
}
