package system

import (
	"fmt"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// sealedIdentity: the key of a node with a TPM is of no use without that TPM.
func sealedIdentity(t *testing.T, suite *lab.Suite) {
	own, err := lab.NewTPM(t)
	must(t, "TPM", err)
	other, err := lab.NewTPM(t)
	must(t, "another TPM", err)
	m := suite.Machine(t, lab.MachineSpec{Name: "sealed"})
	start := func(tpm *lab.TPM) {
		t.Helper()
		var args []string
		if tpm != nil {
			args, err = tpm.Start()
			must(t, "TPM", err)
		}
		must(t, "configure", m.Change(func(s *qemu.NodeSpec) { s.ExtraArgs = args }))
		must(t, "start", m.Start(t.Context()))
	}
	isMember := func(what string) {
		t.Helper()
		_, err := m.WaitStatus(within(t, 3*time.Minute), what, func(s *api.Status) (bool, string) {
			return s.Membership.State == api.Member, fmt.Sprintf("%+v", s.Membership)
		})
		must(t, what, err)
		must(t, "shutdown", m.PowerOff(t.Context())) // what is in the journal alone is not seen by who reads the disk
	}
	start(own)
	must(t, "enrol", m.Enrol(t.Context()))
	isMember("a member")
	checkSealed(t, m)

	for _, boot := range []struct {
		name string
		tpm  *lab.TPM
		says string
	}{
		{"without the TPM", nil, "this machine shows none"},
		{"with another TPM", other, "has not sealed it"},
	} {
		start(boot.tpm)
		_, err := m.WaitEvent(within(t, 3*time.Minute), boot.says, isProblem(boot.says))
		must(t, boot.name, err)
		_, err = m.WaitEvent(within(t, 3*time.Minute), "the end of the boot", isKind(api.EventRunning))
		must(t, "boot "+boot.name, err)
		if _, err := m.Status(t.Context()); err == nil {
			t.Errorf("it answers as a member %s", boot.name)
		}
		must(t, "power cut", m.Kill(t.Context()))
	}

	start(own)
	isMember("a member again")
}

// checkSealed wants no file on STATE that opens the node's key.
func checkSealed(t *testing.T, m *lab.Machine) {
	t.Helper()
	disk, err := m.Disk()
	must(t, "disk", err)
	defer closeDisk(t, disk)
	p, err := disk.Partition("STATE")
	must(t, "disk", err)
	if _, err := p.ReadFile(t.Context(), "/mycelium/local.tpm"); err != nil {
		t.Errorf("no sealed key: %v", err)
	}
	if b, err := p.ReadFile(t.Context(), "/mycelium/local.key"); err == nil {
		t.Errorf("the key lies in a file of %d bytes", len(b))
	}
}
