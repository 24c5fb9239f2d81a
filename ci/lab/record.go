package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// RecordDir makes and names the folder that keeps what a failed test left.
func (s *Suite) RecordDir(test string) string {
	clean := strings.Map(func(r rune) rune {
		if strings.ContainsRune("/\\: ", r) {
			return '_'
		}
		return r
	}, test)
	dir := filepath.Join(s.Out, "failed", clean)
	_ = os.MkdirAll(dir, 0o755) // whoever writes there sees the error
	return dir
}

// Record keeps what the machine says of itself: its consoles, status, logs,
// and what QEMU printed. It never fails; what it cannot get it says in the log.
func (m *Machine) Record(ctx context.Context, t testing.TB) {
	t.Helper()
	dir := filepath.Join(m.suite.RecordDir(t.Name()), m.Name())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Log(err)
		return
	}
	err := errors.Join(
		copyFile(filepath.Join(dir, "console.log"), m.ConsolePath()),
		copyFile(filepath.Join(dir, "qemu.log"), filepath.Join(m.Spec().Dir, "qemu.log")),
	)
	if text, readErr := os.ReadFile(m.ConsolePath()); readErr == nil {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "console.txt"), []byte(qemu.Plain(text)), 0o644))
	}
	if running, runErr := m.Running(); runErr == nil && running {
		err = errors.Join(err, m.recordRunning(ctx, dir))
	}
	if err != nil {
		t.Logf("record of %s is not complete: %v", m.Name(), err)
	}
	t.Logf("record: %s", dir)
}

func (m *Machine) recordRunning(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	errs := []error{m.Screenshot(ctx, filepath.Join(dir, "screen.png"))}
	status, err := m.Status(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	text, err := json.MarshalIndent(status, "", "  ")
	errs = append(errs, err, os.WriteFile(filepath.Join(dir, "status.json"), text, 0o644))
	client, err := m.Client(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer client.Close()
	names, err := client.Logs(ctx)
	errs = append(errs, err)
	for _, name := range names {
		errs = append(errs, saveLog(ctx, client, name, filepath.Join(dir, name+".log")))
	}
	return errors.Join(errs...)
}

func saveLog(ctx context.Context, client *api.Client, name, file string) error {
	log, err := client.Log(ctx, name, api.LogOptions{})
	if err != nil {
		return fmt.Errorf("log %s: %w", name, err)
	}
	defer log.Close()
	return writeTo(file, log)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	return writeTo(to, in)
}

func writeTo(file string, r io.Reader) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}
