package system

import (
	"fmt"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// misfortunes: one machine's clock is wrong, its disk is full, and then damaged.
func misfortunes(t *testing.T, suite *lab.Suite) {
	server, err := lab.StartNTP(t.Context())
	must(t, "time server", err)
	defer func() { must(t, "close the time server", server.Close()) }()
	c := config.Default()
	c.Time.Servers = []string{fmt.Sprintf("10.0.2.2:%d", server.Port())}
	m := suite.Machine(t, lab.MachineSpec{Name: "misfortunes", Config: c, Node: qemu.NodeSpec{
		RTC: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), DiskBytes: smallDisk,
	}})
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"wrong clock", func(t *testing.T) { wrongClock(t, m, server) }},
		{"full disk", func(t *testing.T) { fullDisk(t, m) }},
		{"damaged disk", func(t *testing.T) { damagedDisk(t, m) }},
	} {
		ok := t.Run(test.name, func(t *testing.T) {
			defer suite.Times.Start(t)()
			defer recordOf(t, m)
			test.run(t)
		})
		if !ok {
			return // the next one needs the machine that this one leaves
		}
	}
}

// wrongClock: a machine whose clock shows 1970 or 2040 becomes Ready with and
// without a time server, never believes its clock, and takes the right time
// when somebody tells it. It leaves a Ready node with a workload.
func wrongClock(t *testing.T, m *lab.Machine, server *lab.NTPServer) {
	server.Mute(true)
	status := m.MustBoot(t)
	checkClock(t, status, "floor")
	must(t, "deploy", m.Deploy(t.Context()))
	must(t, "workload in a wrong year", m.WaitWorkload(t.Context()))
	server.Mute(false)
	status, err := m.WaitStatus(within(t, 10*time.Minute), "the time server's time, and Ready", func(s *api.Status) (bool, string) {
		return s.Time.Source == "ntp" && s.Kubernetes.NodeReady, fmt.Sprintf("%+v %+v", s.Time, s.Kubernetes)
	})
	must(t, "step to the right time", err)
	checkNow(t, status)
	must(t, "workload after the step", m.WaitWorkload(t.Context()))
	must(t, "shutdown", m.PowerOff(t.Context()))

	// The time that a server once told is the floor of later boots.
	setRTC(t, m, 2040)
	server.Mute(true)
	status = m.MustBoot(t)
	checkClock(t, status, "floor")
	must(t, "workload in 2040", m.WaitWorkload(t.Context()))
	must(t, "power cut", m.Kill(t.Context()))

	setRTC(t, m, 2040)
	server.Mute(false)
	status = m.MustBoot(t)
	checkClock(t, status, "ntp")
	checkNow(t, status)
	must(t, "workload", m.WaitWorkload(t.Context()))
	must(t, "power cut", m.Kill(t.Context()))

	setRTC(t, m, 1970)
	status = m.MustBoot(t)
	checkClock(t, status, "ntp")
	checkNow(t, status)
	if server.Requests() == 0 {
		t.Error("nobody asked the time server")
	}
	must(t, "workload", m.WaitWorkload(t.Context()))
}

func setRTC(t *testing.T, m *lab.Machine, year int) {
	t.Helper()
	must(t, "set the clock", m.Change(func(s *qemu.NodeSpec) { s.RTC = time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC) }))
}

// checkClock wants the clock to rest on source and to show a year that a
// certificate may be checked in.
func checkClock(t *testing.T, s *api.Status, source string) {
	t.Helper()
	if s.Time.Source != source {
		t.Errorf("the time comes from %q, want %q", s.Time.Source, source)
	}
	if year := s.Time.Now.Year(); year < 2025 || year > 2036 {
		t.Errorf("the node believes the year %d", year)
	}
}

// checkNow wants the node's time to be the host's, within what an answer takes.
func checkNow(t *testing.T, s *api.Status) {
	t.Helper()
	if off := time.Since(s.Time.Now).Abs(); off > 2*time.Minute {
		t.Errorf("the node's time is off by %v", off)
	}
}
