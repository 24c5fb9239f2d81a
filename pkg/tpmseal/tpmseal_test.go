package tpmseal

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
)

// newTPM starts a TPM of its own for the test.
func newTPM(t *testing.T) transport.TPM {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err != nil {
		t.Fatal("swtpm is missing: apt-get install swtpm")
	}
	dir, err := os.MkdirTemp("", "tpm") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	var said bytes.Buffer
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+socket,
		"--ctrl", "type=unixio,path="+filepath.Join(dir, "c"), "--flags", "not-need-init,startup-clear")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("swtpm does not come up: %v\n%s", err, said.String())
		}
	}
	tpm, err := linuxudstpm.Open(socket)
	if err != nil {
		t.Fatal(err)
	}
	return tpm
}

func TestSeal(t *testing.T) {
	tpm := newTPM(t)
	for _, secret := range [][]byte{[]byte("AGE-SECRET-KEY-1"), make([]byte, MaxSecret)} {
		var kept [][]byte
		for range 10 { // nothing stays loaded: a TPM has three places
			sealed, err := Seal(tpm, secret)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Unseal(tpm, sealed); err != nil || !bytes.Equal(got, secret) {
				t.Fatalf("%q, %v", got, err)
			}
			kept = append(kept, sealed)
		}
		if bytes.Contains(kept[0], secret[:8]) || bytes.Equal(kept[0], kept[1]) {
			t.Error("the secret shows")
		}
	}
	for _, secret := range [][]byte{nil, make([]byte, MaxSecret+1)} {
		if _, err := Seal(tpm, secret); err == nil {
			t.Errorf("%d bytes were sealed", len(secret))
		}
	}
}

// TestOtherTPM: what one has sealed, another does not open, and says so.
func TestOtherTPM(t *testing.T) {
	sealed, err := Seal(newTPM(t), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Unseal(newTPM(t), sealed); !errors.Is(err, ErrOther) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestDamage: no flipped bit gives another secret, and none is taken for whole.
func TestDamage(t *testing.T) {
	tpm := newTPM(t)
	sealed, err := Seal(tpm, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(sealed)*8; at += 7 {
		b := bytes.Clone(sealed)
		b[at/8] ^= 1 << (at % 8)
		if got, err := Unseal(tpm, b); err == nil {
			t.Errorf("bit %d flipped: %q", at, got)
		}
	}
	for n := range sealed {
		if _, err := Unseal(tpm, sealed[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d of %d bytes: %v", n, len(sealed), err)
		}
	}
	if _, err := Unseal(tpm, append(bytes.Clone(sealed), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
	if got, err := Unseal(tpm, sealed); err != nil || string(got) != "secret" {
		t.Errorf("after all that: %q, %v", got, err)
	}
}

func TestNoTPM(t *testing.T) {
	chip := Chip(filepath.Join(t.TempDir(), "tpmrm0"))
	if _, err := chip.Seal([]byte("secret")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := chip.Unseal([]byte(header)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(header + "\x00\x02\x00\x08\x00\x01\x00"))
	f.Add([]byte(header))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := parse(b); err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}
