package update

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestJournal(t *testing.T) {
	j := FileJournal(filepath.Join(t.TempDir(), "update.json"))
	if s, err := j.Load(); err != nil || !reflect.DeepEqual(s, State{}) {
		t.Errorf("without a file: %+v, %v", s, err)
	}
	want := trying()
	want.Refused = []Refusal{{v3, "x"}}
	want.Verdicts = []Verdict{{Release: v3, Phase: Bad, Reason: "x", Time: time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC)}}
	if err := j.Save(want); err != nil {
		t.Fatal(err)
	}
	if got, err := j.Load(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	whole, err := os.ReadFile(string(j))
	if err != nil {
		t.Fatal(err)
	}
	for at := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[at/8] ^= 1 << (at % 8)
		if got, err := decode(b); err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("bit %d flipped: %+v", at, got)
		} else if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d flipped: %v", at, err)
		}
	}
	for n := range whole {
		if _, err := decode(whole[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	if err := FileJournal(filepath.Join(t.TempDir(), "none", "update.json")).Save(want); err == nil {
		t.Error("saved into no directory")
	}
}

// FuzzJournal: whatever stands in the file, what is taken from it comes back the
// same, and every event either fits it or is refused.
func FuzzJournal(f *testing.F) {
	for _, s := range []State{{}, trying(), refusing(v2)} {
		b, err := encode(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decode(b)
		if err != nil {
			return
		}
		again, err := encode(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(again)
		if err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		if b, err := encode(got); err != nil || !bytes.Equal(b, again) {
			t.Fatalf("%+v, %v, want %+v", got, err, s)
		}
		for _, e := range []Event{Booted{"A", "A", v1}, Booted{"B", "A", v2}, Begin{Slot: "B", Release: v2}, Written{"B", v2}, Start{"B"}, Passed{}, Failed{"x"}, PutOff{"x"}, RolledBack{"x"}, Forgiven{}} {
			if n, err := s.Apply(e); err == nil {
				if _, err := encode(n); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
