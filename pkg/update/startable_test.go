package update

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestUnstartable: what the firmware would not start is neither staged, nor tried, nor
// gone back to, and leaves the machine with what it has.
func TestUnstartable(t *testing.T) {
	untrusted := errors.New("no signature")
	m := newMachine(1, newFile("1.0.0", works))
	second, third := newFile("1.1.0", works), newFile("1.2.0", works)
	m.files[second.Digest], m.files[third.Digest] = second, third
	var answer error
	var asked int64
	boot := func() *Updater {
		slot := m.def
		if m.once != "" {
			slot, m.once = m.once, ""
		}
		l := live{m, slot}
		u, _, err := Boot(Config{
			Firmware: l, Journal: l, Slots: map[string]Content{"A": m.slots["A"], "B": m.slots["B"]}, Release: m.held(slot).Release,
			Startable: func(r io.ReaderAt, size int64) error {
				content, err := io.ReadAll(io.NewSectionReader(r, 0, size))
				if err != nil || int64(len(content)) != size {
					t.Errorf("%d of %d bytes can be read: %v", len(content), size, err)
				}
				asked = size
				return answer
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrUnstartable) || !errors.Is(err, untrusted) || !strings.Contains(err.Error(), "would not start it: no signature") {
			t.Errorf("%s: %v", what, err)
		}
	}

	u := boot()
	answer = untrusted
	refused("install", install(u, second))
	wantPhase(t, u, "B", Empty)
	if err := u.Try(t.Context()); !errors.Is(err, ErrTransition) {
		t.Errorf("what was refused is tried: %v", err)
	}
	if asked != second.Size {
		t.Errorf("asked about %d bytes, want %d", asked, second.Size)
	}

	answer = nil
	if err := install(u, second); err != nil {
		t.Fatal(err)
	}
	answer = untrusted // the owner has put other keys into the firmware since
	refused("try", u.Try(t.Context()))
	wantPhase(t, u, "B", Staged)
	if m.once != "" {
		t.Errorf("the firmware was asked for slot %s", m.once)
	}

	answer = nil
	if err := u.Try(t.Context()); err != nil {
		t.Fatal(err)
	}
	u = boot()
	if err := u.Pass(); err != nil {
		t.Fatal(err)
	}
	if err := install(u, third); err != nil { // A holds a release of a known size now
		t.Fatal(err)
	}
	if err := u.Try(t.Context()); err != nil {
		t.Fatal(err)
	}
	u = boot()
	if err := u.Pass(); err != nil {
		t.Fatal(err)
	}
	answer = untrusted
	refused("rollback", u.Rollback("it is slow"))
	if s := u.State(); s.Default != s.Running || s.Slot(s.Running).Phase != Good || m.def != s.Running {
		t.Errorf("after a refused rollback: %+v, the firmware starts %s", s, m.def)
	}
	answer = nil
	if err := u.Rollback("it is slow"); err != nil {
		t.Error(err)
	}
}
