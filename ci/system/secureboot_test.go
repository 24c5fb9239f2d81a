package system

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
	"github.com/digital-mycelium/os/pkg/secureboot"
)

// secureBoot: a firmware without an owner takes over the keys that the image brings, and
// starts from then on what they have signed; the node refuses an update that it would not.
func secureBoot(t *testing.T, suite *lab.Suite) {
	owner, stranger := secureKeys(t, "Owner"), secureKeys(t, "Stranger")
	on, err := suite.Secure(t.Context(), owner)
	must(t, "build a signed image", err)
	u := newUpdating(t, on, "secure", qemu.NodeSpec{Firmware: qemu.UEFISecure})
	status := u.MustBoot(t)
	if console := u.Console(t); !strings.Contains(console, "Secure Boot keys successfully enrolled") {
		t.Error("the console does not say that the keys were enrolled")
	}
	wantSecureBoot(t, status)
	u.begin(t, status)
	must(t, "deploy", u.Deploy(t.Context()))
	must(t, "workload", u.WaitWorkload(t.Context()))

	unsigned, err := on.Newer(t.Context(), "1.1.0") // without keys
	must(t, "build a newer version", err)
	u.refusesUnstartable(t, unsigned, "not signed")
	u.refusesUnstartable(t, signedBy(t, on, unsigned, stranger), `it is signed by "Stranger db"`)

	signed := signedBy(t, on, unsigned, owner)
	u.pushAndTry(t, signed)
	status = u.awaitVerdict(t, signed.Version, "good")
	u.wantRunning(t, status, signed.Version)
	wantSecureBoot(t, status)
	status = reboot(t, u.Machine, status) // by the boot loader this time
	u.wantRunning(t, status, signed.Version)
	wantSecureBoot(t, status)
	must(t, "shutdown", u.PowerOff(t.Context()))
	checkClean(t, u.Machine)
	u.foreignLoader(t, suite)
}

// secureKeys makes keys in a directory.
func secureKeys(t *testing.T, name string) string {
	t.Helper()
	keys, err := secureboot.Generate(name, time.Now())
	must(t, "make keys", err)
	dir := filepath.Join(t.TempDir(), "keys")
	must(t, "save keys", keys.Save(dir))
	return dir
}

func signedBy(t *testing.T, suite *lab.Suite, f lab.OSFile, keys string) lab.OSFile {
	t.Helper()
	db, err := secureboot.LoadSigner(keys, secureboot.DB)
	must(t, "keys", err)
	signed, err := suite.SignedOSFile(f, db)
	must(t, "sign", err)
	return signed
}

func wantSecureBoot(t *testing.T, s *api.Status) {
	t.Helper()
	if s.SecureBoot != string(secureboot.On) {
		t.Errorf("Secure Boot is %q, want %q", s.SecureBoot, secureboot.On)
	}
}

// refusesUnstartable wants an OS file to be refused with the reason, and what runs to stay.
func (u *updating) refusesUnstartable(t *testing.T, f lab.OSFile, reason string) {
	t.Helper()
	err := u.push(within(t, 5*time.Minute), f)
	if !errors.Is(err, api.ErrConflict) || !strings.Contains(err.Error(), "the firmware would not start it") || !strings.Contains(err.Error(), reason) {
		t.Errorf("%s was not refused as it should: %v, want %q", f.Path, err, reason)
	}
	if err := u.try(within(t, time.Minute)); !errors.Is(err, api.ErrConflict) {
		t.Errorf("nothing is staged and was tried: %v", err)
	}
	status, err := u.Status(t.Context())
	must(t, "status", err)
	u.wantRunning(t, status, u.base)
}

// foreignLoader: it is the firmware that refuses, not the node alone. The boot loader of an
// image without a signature, put in place of ours, is not started.
func (u *updating) foreignLoader(t *testing.T, unsigned *lab.Suite) {
	const name = "::EFI/BOOT/BOOTX64.EFI"
	loader := filepath.Join(t.TempDir(), "loader.efi")
	for _, args := range [][]string{{"-i", unsigned.Image + "@@1M", name, loader}, {"-o", "-i", u.DiskPath() + "@@1M", loader, name}} {
		out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "mcopy", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("mcopy (apt-get install mtools): %v: %s", err, out)
		}
	}
	must(t, "start", u.Start(t.Context()))
	must(t, "the firmware refuses", lab.Poll(within(t, 2*time.Minute), "what the firmware says", func(context.Context) (bool, string, error) {
		console := u.Console(t)
		return strings.Contains(console, "Access Denied") || strings.Contains(console, "Security Violation"), console, nil
	}))
	if n := u.EventCount(t); n > 0 {
		t.Errorf("%d lines of init on the console of a machine whose boot loader is not signed", n)
	}
}
