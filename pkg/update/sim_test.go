package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// What a release does when it is started.
type nature string

const (
	works     nature = "works"
	unhealthy nature = "is not healthy"
	hangs     nature = "hangs before its init"
	stalls    nature = "hangs after its init has begun"
)

const chunk = 4 << 10

// file is a release with its content.
type file struct {
	Release
	nature  nature
	content []byte
}

func newFile(version string, n nature) *file {
	content := bytes.Repeat([]byte(version+" "+string(n)+"\n"), 1+3*chunk/(len(version)+len(n)+2))
	sum := sha256.Sum256(content)
	return &file{Release{version, hex.EncodeToString(sum[:]), int64(len(content))}, n, content}
}

// powerCut is what a simulated machine panics with.
type powerCut struct{}

// machine is a simulated one: two slots behind a disk cache, firmware, journal.
// Every operation counts, once before it takes effect and once after.
type machine struct {
	random  *rand.Rand
	files   map[string]*file // by digest
	slots   map[string]*slotDisk
	journal []byte
	def     string
	once    string

	ops, cut int // the power goes at this operation; never when it is 0
	boots    int
}

type slotDisk struct {
	m       *machine
	durable []byte
	pending map[int][]byte // by offset: in the disk's cache
}

func newMachine(seed uint64, first *file) *machine {
	m := &machine{random: rand.New(rand.NewPCG(seed, 0)), files: map[string]*file{first.Digest: first}, def: "A"}
	m.slots = map[string]*slotDisk{"A": {m: m, durable: bytes.Clone(first.content)}, "B": {m: m}}
	return m
}

// step does one operation.
func (m *machine) step(effect func()) {
	if m.ops++; m.ops == m.cut {
		panic(powerCut{})
	}
	effect()
	if m.ops++; m.ops == m.cut {
		panic(powerCut{})
	}
}

// lose is what a power cut does to the disk: any part of what its cache held is
// written.
func (m *machine) lose() {
	for _, s := range m.slots {
		for at, b := range s.pending {
			if m.random.IntN(2) == 0 {
				s.put(at, b)
			}
		}
		s.pending = nil
	}
}

func (s *slotDisk) put(at int, b []byte) {
	if need := at + len(b); need > len(s.durable) {
		s.durable = append(s.durable, make([]byte, need-len(s.durable))...)
	}
	copy(s.durable[at:], b)
}

func (s *slotDisk) Write(r io.Reader, size int64) error {
	s.pending = map[int][]byte{}
	s.m.step(func() { s.durable = make([]byte, size) })
	for at := 0; ; at += chunk {
		b := make([]byte, chunk)
		n, err := io.ReadFull(r, b)
		if n > 0 {
			s.m.step(func() { s.pending[at] = b[:n] })
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	s.m.step(func() {
		for at, b := range s.pending {
			s.put(at, b)
		}
		s.pending = nil
	})
	return nil
}

func (s *slotDisk) Open(int64) (File, error) {
	return memoryFile{bytes.NewReader(s.durable)}, nil
}

// memoryFile is a File in memory.
type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }

// held returns the release that a slot holds whole; nil when none.
func (m *machine) held(slot string) *file {
	sum := sha256.Sum256(m.slots[slot].durable)
	return m.files[hex.EncodeToString(sum[:])]
}

// live is one boot of a machine: its firmware and its journal as the updater sees
// them.
type live struct {
	*machine
	running string
}

func (l live) Running() (string, error) { return l.running, nil }
func (l live) Default() (string, error) { return l.def, nil }
func (l live) SetDefault(slot string) error {
	l.step(func() { l.def = slot })
	return nil
}

func (l live) TryOnce(slot string) error {
	l.step(func() { l.once = slot })
	return nil
}

func (l live) Untry() error {
	l.step(func() { l.once = "" })
	return nil
}

func (l live) Load() (State, error) {
	if l.journal == nil {
		return State{}, nil
	}
	return decode(l.journal)
}

func (l live) Save(s State) error {
	b, err := encode(s)
	if err != nil {
		return err
	}
	l.step(func() { l.journal = b })
	return nil
}

// errReset says that a boot ended, by a power cut, a watchdog or a reboot.
var errReset = errors.New("reset")

// boot starts the machine once. It returns an updater when the machine rests on
// a release, or errReset.
func (m *machine) boot(t *testing.T) (u *Updater, err error) {
	t.Helper()
	defer m.onCut(&err)
	if m.boots++; m.boots > 1000 {
		t.Fatal("the machine boots again and again")
	}
	slot := m.def
	if m.once != "" {
		slot, m.once = m.once, "" // the firmware's own doing
	}
	f := m.held(slot)
	if f == nil && slot == m.def {
		t.Fatalf("the slot that is started by itself, %s, holds no whole release", slot)
	}
	if f == nil || f.nature == hangs {
		return nil, errReset
	}
	l := live{m, slot}
	u, next, err := Boot(Config{Firmware: l, Journal: l, Slots: map[string]Content{"A": m.slots["A"], "B": m.slots["B"]}, Release: f.Release})
	if err != nil {
		t.Fatalf("boot: %v", err)
	}
	switch next {
	case Nothing:
		return u, nil
	case Reboot:
		return nil, errReset
	}
	switch f.nature {
	case works:
		if err := u.Pass(); err != nil {
			t.Fatal(err)
		}
		return u, nil
	case unhealthy:
		if err := u.Fail("its workloads are not Ready"); err != nil {
			t.Fatal(err)
		}
	}
	return nil, errReset
}

// onCut turns a power cut into errReset.
func (m *machine) onCut(err *error) {
	switch p := recover().(type) {
	case nil:
	case powerCut:
		m.lose()
		*err = errReset
	default:
		panic(p)
	}
}

// rest boots until the machine rests on a release.
func (m *machine) rest(t *testing.T) *Updater {
	t.Helper()
	for {
		if u, err := m.boot(t); err == nil {
			return u
		}
	}
}

// update installs and tries a release, and reboots.
func (m *machine) update(u *Updater, f *file) (err error) {
	defer m.onCut(&err)
	m.files[f.Digest] = f
	if err := u.Install(context.Background(), f.Release, bytes.NewReader(f.content), false, false); err != nil {
		return err
	}
	if err := u.Try(context.Background()); err != nil {
		return err
	}
	return errReset
}

// check wants a machine that rests on a release that works, and a journal that
// tells the truth.
func (m *machine) check(t *testing.T, u *Updater) {
	t.Helper()
	s := u.State()
	if m.held(s.Running) == nil || m.held(s.Running).nature != works {
		t.Errorf("the machine rests on a release that %v", m.held(s.Running))
	}
	if s.Running != m.def || s.Default != m.def || s.OnTrial() != "" || m.once != "" {
		t.Errorf("runs %s, default %s, the firmware's %s, once %q: %+v", s.Running, s.Default, m.def, m.once, s)
	}
	for name, slot := range s.Slots {
		held := m.held(name)
		switch slot.Phase {
		case Good:
			if held == nil || held.nature != works || held.Release != slot.Release {
				t.Errorf("slot %s counts as good and holds %v", name, held)
			}
		case Staged:
			if held == nil || held.Release != slot.Release {
				t.Errorf("slot %s counts as staged and holds %v", name, held)
			}
		case Bad:
			if slot.Reason == "" {
				t.Errorf("slot %s is bad for no reason", name)
			}
		}
	}
}

// checkVerdict wants the machine to rest on what has passed last, or on its first
// release, and the journal to say so.
func (m *machine) checkVerdict(t *testing.T, u *Updater) {
	t.Helper()
	s := u.State()
	var good Release // the last one that has passed
	for _, v := range s.Verdicts {
		if v.Phase == Good {
			good = v.Release
		}
	}
	if held := m.held(s.Running); good != (Release{}) && held.Release != good || good == (Release{}) && held.Version != "1.0.0" {
		t.Errorf("the machine rests on %s, the last verdict that is good is of %q", held.Release, good.Version)
	}
}

// TestPowerCutAtEveryStep cuts the power before and after each operation of an
// update of each nature, and lets the machine come to rest. Then the same update
// must go through, or be refused with a reason.
func TestPowerCutAtEveryStep(t *testing.T) {
	for _, n := range []nature{works, unhealthy, hangs, stalls} {
		t.Run(string(n), func(t *testing.T) {
			first, second := newFile("1.0.0", works), newFile("1.1.0", n)
			cuts := 0
			for cut := 1; ; cut++ {
				m := newMachine(uint64(cut), first)
				u := m.rest(t)
				m.ops, m.cut = 0, cut
				if err := m.update(u, second); !errors.Is(err, errReset) {
					t.Fatal(err)
				}
				u = m.rest(t)
				cutHappened := m.ops >= cut
				m.cut = 0
				m.check(t, u)
				m.checkVerdict(t, u)
				err := m.update(u, second)
				switch {
				case u.State().Slot(u.State().Running).Release == second.Release:
					if err == nil || n != works {
						t.Fatalf("cut %d: %v", cut, err)
					}
				case errors.Is(err, errReset):
					u = m.rest(t)
					m.check(t, u)
				case !errors.Is(err, ErrRefused) || n == works:
					t.Fatalf("cut %d: %v", cut, err)
				}
				s := u.State()
				if (s.Slot(s.Running).Release == second.Release) != (n == works) {
					t.Errorf("cut %d: the machine rests on %s: %+v", cut, s.Slot(s.Running).Release, s.Verdicts)
				}
				if n != works && (len(s.Verdicts) == 0 || s.Verdicts[len(s.Verdicts)-1].Phase != Bad) {
					t.Errorf("cut %d: no verdict: %+v", cut, s)
				}
				if t.Failed() {
					t.FailNow()
				}
				if !cutHappened {
					break
				}
				cuts++
			}
			t.Logf("%d cuts", cuts)
			if cuts < 2*10 {
				t.Errorf("only %d cuts", cuts)
			}
		})
	}
}

// TestManyCuts updates again and again, with power cuts at random operations.
func TestManyCuts(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		m := newMachine(seed, newFile("1.0.0", works))
		for i := range 6 {
			u := m.rest(t)
			n := []nature{works, works, unhealthy, hangs, stalls}[random.IntN(5)]
			f := newFile(fmt.Sprintf("1.%d.0", i+1), n)
			m.ops, m.cut = 0, 1+random.IntN(60)
			if err := m.update(u, f); !errors.Is(err, errReset) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for range random.IntN(4) {
				if u, err := m.boot(t); err == nil {
					m.check(t, u)
				}
				m.ops, m.cut = 0, 1+random.IntN(6)
			}
			m.cut = 0
			u = m.rest(t)
			m.check(t, u)
			m.checkVerdict(t, u)
		}
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, strings.TrimSpace(string(m.journal)))
		}
	}
}
