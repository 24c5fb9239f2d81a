package system

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// armTrial bounds the trials of an arm64 machine, whose boots take several times those
// of amd64 where both are emulated.
const armTrial = 20 * time.Minute

// arm64Boards: a machine of each way to start on arm64 becomes Ready, keeps a working
// update, and is back in the old system after one whose kernel panics.
func arm64Boards(t *testing.T, suite *lab.Suite) {
	for _, test := range []struct {
		board    string
		firmware qemu.Firmware
	}{
		{"qemu-arm64", qemu.UEFI},
		{"arm64-efi", qemu.UBoot},
	} {
		t.Run(test.board+" under "+string(test.firmware), func(t *testing.T) {
			defer suite.Times.Start(t)()
			other := flashed(t, suite, test.board)
			node := qemu.NodeSpec{Arch: qemu.ARM64, Firmware: test.firmware}
			if test.firmware == qemu.UBoot {
				node.Host.FirmwareCode = debianUBoot(t, suite.Root)
			}
			u := newUpdating(t, other, test.board, node)
			u.patience = armTrial
			began := time.Now()
			u.begin(t, u.MustBoot(t))
			suite.Times.Note(t, "Ready after %.0f s", time.Since(began).Seconds())
			u.limitTrials(t, armTrial)
			u.armUpdates(t)
		})
	}
}

// armUpdates is what an update promises, as far as the firmware has a part in it.
func (u *updating) armUpdates(t *testing.T) {
	panics := u.variant(t, "1.0.1", func(p *uki.Parts) error {
		p.CmdLine += " rdinit=/not-there panic=1"
		return nil
	})
	u.pushAndTry(t, panics)
	status := u.verdict(t, panics.Version, "bad")
	u.wantRunning(t, status, u.base)
	wantReason(t, status, "init never ran")

	newer, err := u.suite.Newer(t.Context(), "1.1.0")
	must(t, "build a newer version", err)
	u.pushAndTry(t, newer)
	status = u.verdict(t, newer.Version, "good")
	u.wantRunning(t, status, newer.Version)
	// A change of the default is what the firmware starts by itself, also from off.
	must(t, "power off", u.PowerOff(t.Context()))
	must(t, "start", u.Start(t.Context()))
	status, err = u.WaitStatus(within(t, armTrial), "the kept update", func(s *api.Status) (bool, string) {
		return s.Update != nil && s.Phase == lab.PhaseRunning, s.Phase
	})
	must(t, "start again", err)
	u.wantRunning(t, status, newer.Version)
}

// debianUBoot is U-Boot for QEMU from the same source package as that of the boards.
func debianUBoot(t *testing.T, root string) string {
	t.Helper()
	lock, err := debian.Load(filepath.Join(root, debian.LockPath))
	must(t, "lock", err)
	deb, _, err := lock.Fetch(t.Context(), "u-boot-qemu", "all")
	must(t, "fetch u-boot-qemu", err)
	path, err := debian.Extract(t.Context(), deb, "usr/lib/u-boot/qemu_arm64/u-boot.bin")
	must(t, "unpack u-boot-qemu", err)
	return path
}
