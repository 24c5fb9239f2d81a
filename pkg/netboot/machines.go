package netboot

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// State is how far a machine has come, as far as the server can see.
type State string

// The states, in the order of a boot that installs.
const (
	Asked      State = "asks"       // by DHCP what to boot
	Loading    State = "loader"     // has fetched iPXE
	Scripted   State = "script"     // has fetched iPXE's script
	Fetching   State = "system"     // fetches the operating system
	Started    State = "started"    // has all of it
	Configured State = "configured" // its operating system has fetched the configuration
	Installing State = "installing" // says that it is
	Installed  State = "installed"  // says that it is
	Failed     State = "failed"     // says that it could not install
	OwnDisk    State = "own disk"   // is installed and was sent on to its disk
)

// event is what the server sees a machine do.
type event int

const (
	eventAsk event = iota
	eventLoader
	eventScript
	eventDisk // was given the script that boots the disk
	eventSystem
	eventSystemEnd
	eventConfig
	eventInstalling
	eventInstalled
	eventFailed
)

// next is the one transition function. What begins a boot (asking, a loader, a
// script) counts whatever was before; the system's bytes do not when an
// operating system that runs already fetches them, to install them.
func next(s State, e event) State {
	switch e {
	case eventAsk:
		return Asked
	case eventLoader:
		return Loading
	case eventScript:
		return Scripted
	case eventDisk:
		return OwnDisk
	case eventConfig:
		return Configured
	case eventInstalling:
		return Installing
	case eventInstalled:
		return Installed
	case eventFailed:
		return Failed
	}
	if s != Asked && s != Loading && s != Scripted && s != Fetching {
		return s
	}
	if e == eventSystemEnd {
		return Started
	}
	return Fetching
}

// Machine is what is known of a machine.
type Machine struct {
	MAC      MAC
	Way      Way
	Platform Platform
	// Address is the last one that it was seen with.
	Address netip.Addr
	State   State
	// File is what it fetches or has fetched last, Sent of Size bytes of it.
	File       string
	Sent, Size int64
	// Report is the last word of its operating system.
	Report Report
	// Installed is when it said that its disk holds the system; zero if it never did.
	Installed time.Time
	// Problem says why it gets no answer; empty when it gets one.
	Problem string
	// Seen is when it last did anything.
	Seen time.Time
}

// Report is a line by which an operating system says how its installation goes:
// "PHASE PERCENT MESSAGE", such as "system 40 sda: writing the system". The last one
// has the phase PhaseDone or PhaseFailed.
type Report struct {
	Phase   string
	Percent int
	Message string
}

// The phases that are the last one.
const (
	PhaseDone   = "done"
	PhaseFailed = "failed"
)

// maxReport bounds how much of a report is read, in bytes.
const maxReport = 1024

// ParseReport reads a report, of which what is too long is left out. Characters of the message that are not printable
// ASCII become "?".
func ParseReport(line []byte) (Report, error) {
	line = bytes.TrimSpace(line[:min(len(line), maxReport)])
	phase, rest, _ := strings.Cut(string(line), " ")
	percent, message, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(percent)
	if err != nil || n < 0 || n > 100 || phase == "" || len(phase) > 20 ||
		strings.ContainsFunc(phase, func(r rune) bool { return (r < 'a' || r > 'z') && r != '-' }) {
		return Report{}, errors.New("no report: write PHASE PERCENT MESSAGE")
	}
	return Report{Phase: phase, Percent: n, Message: printable(message)}, nil
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// maxMachines bounds how many are remembered: addresses can be made up.
const maxMachines = 1024

// Machines is what is known of all of them. It is safe for concurrent use.
type Machines struct {
	// Changed is called after each change, one call at a time; it must not call
	// back. Nil for none.
	Changed func(Machine)
	// Now is the time; time.Now when nil.
	Now func() time.Time

	mu  sync.Mutex
	all map[MAC]*entry
	// order is that in which they were first seen.
	order []MAC
}

type entry struct {
	Machine
	boot boot
	// whole are the files that a Raspberry Pi has got whole since it began to boot.
	whole []string
}

// boot is what one run of a machine's script entitles it to.
type boot struct {
	word     string
	document []byte
	left     int // times that the document may be fetched
	until    time.Time
}

// How often and how long a machine may fetch its configuration after its script.
const (
	documentTimes = 5 // an answer can get lost
	documentTime  = 30 * time.Minute
)

// newBoot returns what a machine that is given the document can do from now on.
func (m *Machines) newBoot(document []byte) boot {
	return boot{word: rand.Text(), document: document, left: documentTimes, until: m.now().Add(documentTime)}
}

// errStranger refuses a word that is not the machine's, or no longer.
var errStranger = errors.New("not for this machine, or not any more")

func (m *Machines) now() time.Time {
	if m.Now == nil {
		return time.Now()
	}
	return m.Now()
}

// SetInstalled remembers from earlier that a machine has installed itself, or
// with the zero time forgets it: it is given the operating system anew.
func (m *Machines) SetInstalled(mac MAC, at time.Time) {
	m.change(mac, func(e *entry) { e.Installed = at })
}

// List returns all machines in the order in which they were first seen.
func (m *Machines) List() []Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Machine, 0, len(m.order))
	for _, mac := range m.order {
		list = append(list, m.all[mac].Machine)
	}
	return list
}

// change changes a machine's entry, which is made when it is new.
func (m *Machines) change(mac MAC, f func(*entry)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.all[mac]
	if e == nil {
		if m.all == nil {
			m.all = map[MAC]*entry{}
		}
		m.makeRoom()
		e = &entry{Machine: Machine{MAC: mac}}
		m.all[mac], m.order = e, append(m.order, mac)
	}
	f(e)
	e.Seen = m.now()
	if m.Changed != nil {
		m.Changed(e.Machine)
	}
}

// makeRoom forgets the machine that was silent longest when there are too many.
func (m *Machines) makeRoom() {
	if len(m.order) < maxMachines {
		return
	}
	oldest := slices.MinFunc(m.order, func(a, b MAC) int {
		x, y := m.all[a], m.all[b]
		if x.Installed.IsZero() != y.Installed.IsZero() { // one that would be installed again is the last to go
			if x.Installed.IsZero() {
				return -1
			}
			return 1
		}
		return x.Seen.Compare(y.Seen)
	})
	delete(m.all, oldest)
	m.order = slices.DeleteFunc(m.order, func(mac MAC) bool { return mac == oldest })
}

// asked notes what came of a machine's DHCP packet.
func (m *Machines) asked(a Answer) {
	m.change(a.Client.MAC, func(e *entry) {
		e.Problem = a.Reason
		if !a.Boots {
			return
		}
		if e.State != Asked {
			e.File, e.Sent, e.Size, e.Report = "", 0, 0, Report{}
		}
		e.State, e.Way, e.Platform = next(e.State, eventAsk), a.Client.Way, a.Client.Platform
		e.whole = nil
	})
}

// fetches notes that sent of size bytes of a file went to the machine.
func (m *Machines) fetches(mac MAC, from netip.Addr, file string, e1 event, sent, size int64) {
	m.change(mac, func(e *entry) {
		e.Address, e.State = from, next(e.State, e1)
		e.File, e.Sent, e.Size = file, sent, size
	})
}

// script notes that the machine gets a script, and returns the word that its
// system shows when it asks for the document or reports. disk says that it is
// installed and boots its disk.
func (m *Machines) script(mac MAC, from netip.Addr, p Platform, document []byte, install bool) (word string, disk bool) {
	m.change(mac, func(e *entry) {
		e.Address, e.Platform = from, p
		if disk = install && !e.Installed.IsZero(); disk {
			e.State, e.boot = next(e.State, eventDisk), boot{}
			return
		}
		e.boot = m.newBoot(document)
		word = e.boot.word
		e.State, e.File, e.Sent, e.Size = next(e.State, eventScript), "", 0, 0
	})
	return word, disk
}

// document returns the configuration that belongs to the word.
func (m *Machines) document(mac MAC, word string) (document []byte, err error) {
	err = errStranger
	m.known(mac, word, func(e *entry) {
		if e.boot.document == nil || e.boot.left == 0 || !m.now().Before(e.boot.until) {
			return
		}
		e.boot.left--
		document, err = e.boot.document, nil
		e.State = next(e.State, eventConfig)
	})
	return document, err
}

// report takes the machine's report.
func (m *Machines) report(mac MAC, word string, r Report) error {
	err := errStranger
	m.known(mac, word, func(e *entry) {
		err = nil
		e.Report = r
		switch r.Phase {
		case PhaseDone:
			e.State, e.Installed = next(e.State, eventInstalled), m.now()
		case PhaseFailed:
			e.State = next(e.State, eventFailed)
		default:
			e.State = next(e.State, eventInstalling)
		}
	})
	return err
}

// known changes a machine that is there and shows its word.
func (m *Machines) known(mac MAC, word string, f func(*entry)) {
	m.mu.Lock()
	e := m.all[mac]
	right := e != nil && e.boot.word != "" && subtle.ConstantTimeCompare([]byte(e.boot.word), []byte(word)) == 1
	m.mu.Unlock()
	if right {
		m.change(mac, f)
	}
}

// byAddress returns the machine that was last seen with an address.
func (m *Machines) byAddress(a netip.Addr) (MAC, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mac := range slices.Backward(m.order) {
		if m.all[mac].Address == a {
			return mac, true
		}
	}
	return MAC{}, false
}
