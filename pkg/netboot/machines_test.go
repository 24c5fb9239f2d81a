package netboot

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// TestNext walks every edge.
func TestNext(t *testing.T) {
	states := []State{"", Asked, Loading, Scripted, Fetching, Started, Configured, Installing, Installed, Failed, OwnDisk}
	always := map[event]State{
		eventAsk: Asked, eventLoader: Loading, eventScript: Scripted, eventDisk: OwnDisk, eventConfig: Configured,
		eventInstalling: Installing, eventInstalled: Installed, eventFailed: Failed,
	}
	for _, s := range states {
		for e, want := range always {
			if got := next(s, e); got != want {
				t.Errorf("%s, event %d: %s, want %s", s, e, got, want)
			}
		}
		fetching, end := s, s
		switch s {
		case Asked, Loading, Scripted, Fetching:
			fetching, end = Fetching, Started
		}
		if got := next(s, eventSystem); got != fetching {
			t.Errorf("%s, bytes of the system: %s, want %s", s, got, fetching)
		}
		if got := next(s, eventSystemEnd); got != end {
			t.Errorf("%s, the last bytes of the system: %s, want %s", s, got, end)
		}
	}
}

func TestParseReport(t *testing.T) {
	for text, want := range map[string]Report{
		"write 40 /dev/sda":       {"write", 40, "/dev/sda"},
		"done 100\n":              {"done", 100, ""},
		"failed 0 \x1b[2Jno disk": {"failed", 0, "?[2Jno disk"},
		"write-back 7 a b  c":     {"write-back", 7, "a b  c"},
	} {
		if got, err := ParseReport([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if got, err := ParseReport(fmt.Appendf(nil, "failed 0 %0*d", 2*maxReport, 1)); err != nil || len(got.Message) > maxReport {
		t.Errorf("a long one: %d bytes, %v", len(got.Message), err)
	}
	for _, text := range []string{"", "write", "write x", "write 101", "write -1", "40 write", "Write 1", "averyveryverylongphase 1"} {
		if got, err := ParseReport([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte("write 40 /dev/sda"))
	f.Add([]byte("\x1b[2J 1 \xff"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseReport(line)
		if err != nil {
			return
		}
		text := r.Phase + r.Message
		if printable(text) != text || r.Percent < 0 || r.Percent > 100 {
			t.Fatalf("%+v", r)
		}
		again, err := ParseReport(fmt.Appendf(nil, "%s %d %s", r.Phase, r.Percent, r.Message))
		if err != nil || again.Phase != r.Phase || again.Percent != r.Percent {
			t.Fatalf("%+v becomes %+v, %v", r, again, err)
		}
	})
}

// TestMachineLife: the words of a boot, and what an installed machine gets.
func TestMachineLife(t *testing.T) {
	now := started
	var last Machine
	m := &Machines{Now: func() time.Time { return now }, Changed: func(c Machine) { last = c }}
	mac, from, p := MAC{1}, netip.MustParseAddr("192.168.77.50"), Platform{"amd64", true}
	m.asked(Answer{Client: Client{MAC: mac, Way: PXE, Platform: p}, Boots: true})
	if last.State != Asked || last.Way != PXE {
		t.Errorf("%+v", last)
	}
	word, disk := m.script(mac, from, p, []byte("document"), true)
	if disk || word == "" || last.State != Scripted || last.Address != from {
		t.Errorf("%+v", last)
	}
	for _, wrong := range []string{"", word + "x", word[:8]} {
		if _, err := m.document(mac, wrong); !errors.Is(err, errStranger) {
			t.Errorf("the word %q: %v", wrong, err)
		}
	}
	if _, err := m.document(MAC{2}, word); !errors.Is(err, errStranger) {
		t.Errorf("another machine: %v", err)
	}
	for range documentTimes {
		if d, err := m.document(mac, word); err != nil || string(d) != "document" {
			t.Errorf("%q, %v", d, err)
		}
	}
	if _, err := m.document(mac, word); !errors.Is(err, errStranger) {
		t.Errorf("once too often: %v", err)
	}
	again, _ := m.script(mac, from, p, []byte("document"), true)
	if _, err := m.document(mac, word); again == word || !errors.Is(err, errStranger) {
		t.Errorf("the word of an earlier boot: %v", err)
	}
	now = now.Add(documentTime)
	if _, err := m.document(mac, again); !errors.Is(err, errStranger) {
		t.Errorf("too late: %v", err)
	}
	if err := m.report(mac, word, Report{Phase: PhaseDone, Percent: 100}); !errors.Is(err, errStranger) || !last.Installed.IsZero() {
		t.Errorf("a report with an earlier word: %v", err)
	}
	for _, step := range []struct {
		phase string
		want  State
	}{{"write", Installing}, {"failed", Failed}, {PhaseDone, Installed}} {
		if err := m.report(mac, again, Report{Phase: step.phase}); err != nil || last.State != step.want {
			t.Errorf("%s: %v, %s", step.phase, err, last.State)
		}
	}
	if !last.Installed.Equal(now) {
		t.Errorf("installed at %s", last.Installed)
	}
	if word, disk := m.script(mac, from, p, []byte("document"), true); !disk || word != "" || last.State != OwnDisk {
		t.Errorf("installed: %q, %v, %s", word, disk, last.State)
	}
	if _, disk := m.script(mac, from, p, nil, false); disk {
		t.Error("one that shall run from memory is sent to its disk")
	}
	m.SetInstalled(mac, time.Time{})
	if _, disk := m.script(mac, from, p, nil, true); disk {
		t.Error("one that shall install itself again is sent to its disk")
	}
}

func TestMachinesAreBounded(t *testing.T) {
	now := started
	m := &Machines{Now: func() time.Time { now = now.Add(time.Second); return now }}
	m.SetInstalled(MAC{9}, started)
	for i := range 2 * maxMachines {
		mac := MAC{1, byte(i >> 8), byte(i)}
		m.asked(Answer{Client: Client{MAC: mac, Way: PXE}, Reason: "no"})
	}
	list := m.List()
	if len(list) != maxMachines || list[0].MAC != (MAC{9}) {
		t.Errorf("%d machines, first %s", len(list), list[0].MAC)
	}
}

func TestProblemIsShown(t *testing.T) {
	m := &Machines{}
	n := proxy()
	n.Serves = func(Client) (bool, string) { return false, "no image" }
	m.asked(Decide(machine("OVMF PXE").packet(t, dhcpv4.MessageTypeDiscover), PortDHCP, nowhere, n, started))
	if l := m.List(); len(l) != 1 || l[0].Problem != "no image" || l[0].State != "" {
		t.Errorf("%+v", l)
	}
}
