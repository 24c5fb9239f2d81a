package update

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// faulty is a machine's slot, firmware or journal with a fault.
type faulty struct {
	live
	tryErr, defaultErr, saveErr error
}

func (f *faulty) TryOnce(slot string) error {
	if f.tryErr != nil {
		f.live.once = slot // and does it all the same
		return f.tryErr
	}
	return f.live.TryOnce(slot)
}

func (f *faulty) SetDefault(slot string) error {
	if f.defaultErr != nil {
		return f.defaultErr
	}
	return f.live.SetDefault(slot)
}

func (f *faulty) Save(s State) error {
	if f.saveErr != nil {
		return f.saveErr
	}
	return f.live.Save(s)
}

type faultySlot struct {
	*slotDisk
	writeErr error
	flip     bool // a bit of what is read
}

func (f *faultySlot) Write(r io.Reader, size int64) error {
	if f.writeErr != nil {
		_, _ = io.CopyN(io.Discard, r, chunk)
		return f.writeErr
	}
	return f.slotDisk.Write(r, size)
}

func (f *faultySlot) Open(size int64) (File, error) {
	if !f.flip {
		return f.slotDisk.Open(size)
	}
	b := bytes.Clone(f.durable)
	b[len(b)/2] ^= 1
	return memoryFile{bytes.NewReader(b)}, nil
}

// start boots m into its default slot with faults to be set.
func start(t *testing.T, m *machine) (*Updater, *faulty, *faultySlot) {
	t.Helper()
	slot := m.def
	if m.once != "" {
		slot, m.once = m.once, ""
	}
	f, idle := &faulty{live: live{m, slot}}, "B"
	if m.def == "B" {
		idle = "A"
	}
	s := &faultySlot{slotDisk: m.slots[idle]}
	u, _, err := Boot(Config{Firmware: f, Journal: f, Slots: map[string]Content{m.def: m.slots[m.def], idle: s}, Release: m.held(slot).Release})
	if err != nil {
		t.Fatal(err)
	}
	return u, f, s
}

func install(u *Updater, f *file) error {
	return u.Install(context.Background(), f.Release, bytes.NewReader(f.content), false, false)
}

func wantPhase(t *testing.T, u *Updater, slot string, want Phase) {
	t.Helper()
	if got := u.State().Slot(slot); got.Phase != want {
		t.Errorf("slot %s is %+v, want %s", slot, got, want)
	}
}

// TestFaultsOfInstall: whatever goes wrong, the slot is empty, and the same release
// can be installed when it goes well.
func TestFaultsOfInstall(t *testing.T) {
	first, second := newFile("1.0.0", works), newFile("1.1.0", works)
	wrong := bytes.Clone(second.content)
	wrong[17] ^= 4
	failing := errors.New("input/output error")
	canceled, cancel := context.WithCancelCause(context.Background())
	cancel(failing)
	for name, tt := range map[string]struct {
		ctx     context.Context
		content []byte
		spoil   func(*faulty, *faultySlot)
		want    string
	}{
		"a flipped bit":   {content: wrong, want: "is not what was promised"},
		"the end missing": {content: second.content[:len(second.content)-1], want: "is not what was promised"},
		"nothing":         {want: "is not what was promised"},
		"the disk fails":  {content: second.content, spoil: func(_ *faulty, s *faultySlot) { s.writeErr = failing }, want: "write 1.1.0 to slot B"},
		"the disk lies":   {content: second.content, spoil: func(_ *faulty, s *faultySlot) { s.flip = true }, want: "the disk may be failing"},
		"given up":        {ctx: canceled, content: second.content, want: "input/output error"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(1, first)
			u, f, s := start(t, m)
			if tt.spoil != nil {
				tt.spoil(f, s)
			}
			ctx := tt.ctx
			if ctx == nil {
				ctx = context.Background()
			}
			err := u.Install(ctx, second.Release, bytes.NewReader(tt.content), false, false)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			wantPhase(t, u, "B", Empty)
			if err := u.Try(t.Context()); !errors.Is(err, ErrTransition) {
				t.Errorf("a part of a release is tried: %v", err)
			}
			*s = faultySlot{slotDisk: s.slotDisk}
			if err := install(u, second); err != nil {
				t.Error(err)
			}
			wantPhase(t, u, "B", Staged)
		})
	}
	t.Run("more than promised", func(t *testing.T) {
		u, _, s := start(t, newMachine(1, first))
		if err := u.Install(t.Context(), second.Release, io.MultiReader(bytes.NewReader(second.content), endless{}), false, false); err != nil {
			t.Error(err)
		}
		if len(s.durable) != len(second.content) {
			t.Errorf("%d bytes are in the slot", len(s.durable))
		}
	})
	t.Run("the journal cannot be written", func(t *testing.T) {
		u, f, s := start(t, newMachine(1, first))
		f.saveErr = failing
		if err := install(u, second); !errors.Is(err, failing) || len(s.durable) != 0 {
			t.Errorf("%v, %d bytes in the slot", err, len(s.durable))
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestFirmwareThatCannot: a firmware that has no room for its variables leaves the
// release staged; if it does what it has denied, that is a trial all the same.
func TestFirmwareThatCannot(t *testing.T) {
	m := newMachine(1, newFile("1.0.0", works))
	second := newFile("1.1.0", works)
	m.files[second.Digest] = second
	u, f, s := start(t, m)
	if err := install(u, second); err != nil {
		t.Fatal(err)
	}
	s.flip = true
	if err := u.Try(t.Context()); err == nil || !strings.Contains(err.Error(), "the disk may be failing") {
		t.Errorf("what was staged has changed: %v", err)
	}
	s.flip = false
	full := errors.New("no space left on device")
	f.tryErr = full
	if err := u.Try(t.Context()); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	wantPhase(t, u, "B", Staged)
	if m.once != "" {
		t.Error("what the firmware has denied was not taken back")
	}
	m.once = "B" // but it was too late
	u, _, _ = start(t, m)
	wantPhase(t, u, "B", Trial)
	if err := u.Pass(); err != nil {
		t.Error(err)
	}
	wantPhase(t, u, "B", Good)
}

// TestLeave: a reboot on purpose during a trial puts it off, and does not count.
func TestLeave(t *testing.T) {
	m := newMachine(1, newFile("1.0.0", works))
	second := newFile("1.1.0", works)
	u := m.rest(t)
	if err := u.Leave("a reboot"); err != nil { // without a trial it is nothing
		t.Error(err)
	}
	for range 3 * Tries {
		if err := m.update(u, second); !errors.Is(err, errReset) {
			t.Fatal(err)
		}
		on, _, _ := start(t, m)
		if err := on.Leave("the owner asked for a reboot"); err != nil {
			t.Fatal(err)
		}
		u = m.rest(t)
		wantPhase(t, u, "B", Staged)
		if v := u.State().Verdicts; v[len(v)-1].Phase != Staged || v[len(v)-1].Reason != "the owner asked for a reboot" {
			t.Errorf("verdicts %+v", v)
		}
	}
	if err := u.Try(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantPhase(t, m.rest(t), "B", Good)
}

// TestRollback goes back to the other slot, also when the power goes in between.
func TestRollback(t *testing.T) {
	for cut := range 5 {
		m := newMachine(uint64(cut), newFile("1.0.0", works))
		second := newFile("1.1.0", works)
		if err := m.update(m.rest(t), second); !errors.Is(err, errReset) {
			t.Fatal(err)
		}
		u := m.rest(t)
		m.ops, m.cut = 0, cut
		err := func() (err error) {
			defer m.onCut(&err)
			return u.Rollback("it is slow")
		}()
		if err != nil && cut == 0 {
			t.Fatal(err)
		}
		m.cut = 0
		u = m.rest(t)
		m.check(t, u)
		if u.State().Running == "B" { // cut before anything was written
			if cut != 1 {
				t.Errorf("cut %d: the rollback is forgotten", cut)
			}
			continue
		}
		if err := install(u, second); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "it is slow") {
			t.Errorf("cut %d: what was rolled back: %v", cut, err)
		}
		if err := u.Forgive("1.1.0"); err != nil {
			t.Error(err)
		}
		if err := u.Install(t.Context(), second.Release, bytes.NewReader(second.content), false, true); err != nil {
			t.Errorf("cut %d: %v", cut, err)
		}
	}
}

// TestStuckRollback: a firmware that takes no other default leaves what runs running; the
// rollback can be asked for again.
func TestStuckRollback(t *testing.T) {
	m := newMachine(1, newFile("1.0.0", works))
	if err := m.update(m.rest(t), newFile("1.1.0", works)); !errors.Is(err, errReset) {
		t.Fatal(err)
	}
	m.rest(t)
	u, f, _ := start(t, m)
	readOnly := errors.New("read-only file system")
	f.defaultErr = readOnly
	if err := u.Rollback("it is slow"); !errors.Is(err, readOnly) {
		t.Errorf("%v", err)
	}
	slots := map[string]Content{"A": m.slots["A"], "B": m.slots["B"]}
	u, next, err := Boot(Config{Firmware: f, Journal: f, Slots: slots, Release: m.held("B").Release})
	if u == nil || next != Nothing || !errors.Is(err, ErrStuck) || !errors.Is(err, readOnly) {
		t.Fatalf("%v, %s, %v", u, next, err)
	}
	if err := install(u, newFile("1.2.0", works)); !errors.Is(err, ErrInUse) {
		t.Errorf("an update before the rollback is over: %v", err)
	}
	f.defaultErr = nil
	if err := u.Rollback("again"); err != nil {
		t.Error(err)
	}
	if u = m.rest(t); u.State().Running != "A" {
		t.Errorf("after the rollback: %+v", u.State())
	}
}

// TestDamagedJournal: the machine goes by what the firmware says, and its caller
// is told.
func TestDamagedJournal(t *testing.T) {
	m := newMachine(1, newFile("1.0.0", works))
	if err := m.update(m.rest(t), newFile("1.1.0", works)); !errors.Is(err, errReset) {
		t.Fatal(err)
	}
	m.rest(t)
	m.journal[len(m.journal)/2] ^= 1
	l := live{m, "B"}
	u, next, err := Boot(Config{Firmware: l, Journal: l, Slots: map[string]Content{"A": m.slots["A"], "B": m.slots["B"]}, Release: m.held("B").Release})
	if !errors.Is(err, ErrDamaged) || next != Nothing || u == nil {
		t.Fatalf("%v, %s", err, next)
	}
	if s := u.State(); s.Default != "B" || s.Floor != "1.1.0" || s.Slot("B").Phase != Good || s.Slot("A").Phase != Empty {
		t.Errorf("%+v", s)
	}
	m.check(t, m.rest(t))
}

// TestForeignSlots: a machine that was started from none of its slots has no updates.
func TestForeignSlots(t *testing.T) {
	m := newMachine(1, newFile("1.0.0", works))
	l := live{m, "USB"}
	if _, _, err := Boot(Config{Firmware: l, Journal: l, Slots: map[string]Content{"A": m.slots["A"], "B": m.slots["B"]}}); err == nil || !strings.Contains(err.Error(), `"USB"`) {
		t.Error(err)
	}
}

// TestWhileInstalling: an upload that does not come keeps nobody from seeing the
// state, nor the machine from being rebooted.
func TestWhileInstalling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newFile("1.0.0", works), newFile("1.1.0", works)
		u, _, _ := start(t, newMachine(1, first))
		r, w := io.Pipe()
		done := make(chan error)
		go func() { done <- u.Install(t.Context(), second.Release, r, false, false) }()
		synctest.Wait() // it waits for the first byte
		wantPhase(t, u, "B", Empty)
		if err := u.Leave("a reboot"); err != nil {
			t.Error(err)
		}
		if err := u.Allowed(second.Release, false, false); err != nil {
			t.Error(err)
		}
		w.CloseWithError(io.ErrUnexpectedEOF)
		if err := <-done; err == nil {
			t.Error("half a release is installed")
		}
	})
}
