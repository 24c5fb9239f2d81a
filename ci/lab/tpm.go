package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TPM is a TPM 2.0 of its own for one machine. It keeps its secrets until the test
// ends, though its process ends with the machine's orderly shutdown.
type TPM struct {
	t   testing.TB
	dir string
}

// NewTPM returns a TPM that nobody has used yet.
func NewTPM(t testing.TB) (*TPM, error) {
	if _, err := exec.LookPath("swtpm"); err != nil {
		return nil, fmt.Errorf("%w: apt-get install swtpm", err)
	}
	dir, err := os.MkdirTemp("", "tpm") // a socket's path is short
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &TPM{t, dir}, nil
}

// Start starts the TPM, if it does not run, and returns QEMU's arguments for it.
func (p *TPM) Start() ([]string, error) {
	socket := filepath.Join(p.dir, "s")
	args := []string{"-chardev", "socket,id=tpm,path=" + socket, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"}
	if _, err := os.Stat(socket); err == nil {
		return args, nil
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(p.t.Context(), "swtpm", "socket", "--tpm2", "--tpmstate", "dir="+p.dir, "--ctrl", "type=unixio,path="+socket)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return args, nil
		}
		if time.Now().After(end) {
			return nil, errors.New("swtpm does not come up: " + said.String())
		}
	}
}
