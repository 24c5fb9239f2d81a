package system

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
)

// smallDisk leaves DATA somewhat more than 1 GiB.
const smallDisk = 2500 << 20

// damagedDisk: a lost superblock is restored from its copy; a file system
// without any is left alone, byte for byte, and the node says so.
func damagedDisk(t *testing.T, m *lab.Machine) {
	first, err := m.Status(t.Context())
	must(t, "status", err)
	must(t, "shutdown", m.PowerOff(t.Context()))

	repairable := scramble(t, m, func(all []int64) []int64 { return all[:1] })
	second := m.MustBoot(t)
	for _, label := range []string{"STATE", "DATA"} {
		if !repairable[label] {
			t.Errorf("%s has no copy of its superblock", label)
		}
		if got := volume(second, label).State; got != "repaired" {
			t.Errorf("%s without its primary superblock is %q, want repaired", label, got)
		}
	}
	checkSameMachine(t, first, second)
	must(t, "workload after the repair", m.WaitWorkload(t.Context()))
	must(t, "shutdown", m.PowerOff(t.Context()))
	checkClean(t, m)

	scramble(t, m, func(all []int64) []int64 { return all })
	before := sums(t, m)
	must(t, "start", m.Start(t.Context()))
	_, err = m.WaitEvent(within(t, 4*time.Minute), "the end of the boot", isKind(api.EventRunning))
	must(t, "boot with corrupt file systems", err)
	for _, label := range []string{"STATE", "DATA"} {
		_, err := m.WaitEvent(within(t, time.Minute), "the problem with "+label, isProblem(label))
		must(t, "problem on the console", err)
	}
	// Its identity was on STATE: nobody is a member, and nobody is told anything.
	if _, err := m.Status(t.Context()); err == nil {
		t.Error("the machine answers as a member without its identity")
	}
	if strings.Contains(m.Console(t), api.ConsolePrefix+"service k3s running") {
		t.Error("Kubernetes runs without its data")
	}
	must(t, "shutdown", m.PowerOff(t.Context()))
	for label, sum := range sums(t, m) {
		if sum != before[label] {
			t.Errorf("the node wrote to %s, which it could not read", label)
		}
	}
}

// scramble destroys the superblocks of STATE and DATA that which chooses, and
// tells which of the partitions have copies.
func scramble(t *testing.T, m *lab.Machine, which func([]int64) []int64) map[string]bool {
	t.Helper()
	disk, err := m.Disk()
	must(t, "disk", err)
	defer closeDisk(t, disk)
	copies := map[string]bool{}
	for _, label := range []string{"STATE", "DATA"} {
		p, err := disk.Partition(label)
		must(t, "disk", err)
		all, err := lab.Superblocks(p)
		must(t, "superblocks of "+label, err)
		copies[label] = len(all) > 1
		must(t, "scramble "+label, lab.Scramble(p, which(all)...))
	}
	return copies
}

// sums are the checksums of STATE and DATA.
func sums(t *testing.T, m *lab.Machine) map[string]string {
	t.Helper()
	disk, err := m.Disk()
	must(t, "disk", err)
	defer closeDisk(t, disk)
	found := map[string]string{}
	for _, label := range []string{"STATE", "DATA"} {
		p, err := disk.Partition(label)
		must(t, "disk", err)
		found[label], err = p.Sum()
		must(t, "disk", err)
	}
	return found
}

// closeDisk writes the changes of a disk out.
func closeDisk(t *testing.T, disk *lab.Disk) {
	t.Helper()
	must(t, "close the disk", disk.Close())
}

// fullDisk: a node whose DATA is full says so, boots, and recovers.
func fullDisk(t *testing.T, m *lab.Machine) {
	must(t, "pod", m.RunPrivileged(t.Context(), "hoarder", "fill", "/host/heap", "0"))
	full := regexp.MustCompile(`(?i)DATA.*(full|free|space)`)
	waitProblem := func(what string, want bool) {
		t.Helper()
		_, err := m.WaitStatus(within(t, 6*time.Minute), what, func(s *api.Status) (bool, string) {
			return full.MatchString(strings.Join(s.Problems, "\n")) == want, fmt.Sprintf("%q %+v", s.Problems, s.Volumes)
		})
		must(t, what, err)
	}
	waitProblem("the full disk among the problems", true)
	must(t, "power cut", m.Kill(t.Context()))

	// The pod that filled the disk is no more when the node comes back, the file is.
	status, err := m.Boot(t.Context())
	must(t, "boot with a full disk", err)
	if !full.MatchString(strings.Join(status.Problems, "\n")) {
		t.Errorf("problems %q: none says that DATA is full", status.Problems)
	}
	must(t, "shutdown", m.PowerOff(t.Context()))
	freeSpace(t, m)
	m.MustBoot(t)
	waitProblem("no full disk among the problems", false)
	must(t, "workload with room again", m.WaitWorkload(t.Context()))
}

// freeSpace deletes the file that fills DATA, as its owner could with the disk
// in another computer.
func freeSpace(t *testing.T, m *lab.Machine) {
	t.Helper()
	disk, err := m.Disk()
	must(t, "disk", err)
	defer closeDisk(t, disk)
	p, err := disk.Partition("DATA")
	must(t, "disk", err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, "free space", p.Remove(ctx, "/heap"))
}
