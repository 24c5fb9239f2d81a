package update

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/digital-mycelium/os/pkg/durable"
)

// maxJournal is the size in bytes that a journal never reaches: its lists are bounded.
const maxJournal = 256 << 10

// ErrDamaged says that a journal is not what was written.
var ErrDamaged = errors.New("the update journal is damaged")

// Journal keeps the state across reboots.
type Journal interface {
	// Load returns the state that was last saved: the zero State when none ever
	// was, an error that wraps ErrDamaged when it cannot be trusted.
	Load() (State, error)
	// Save replaces the state. After a power cut Load returns the one before or
	// this one, and after Save has returned this one.
	Save(State) error
}

// FileJournal is a Journal in a file of that path, whose directory exists: sealed
// JSON, of which fields that an older or newer version does not know are left alone.
type FileJournal string

// Load implements Journal.
func (j FileJournal) Load() (State, error) {
	b, err := os.ReadFile(string(j))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("read the update journal: %w", err)
	}
	s, err := decode(b)
	if err != nil {
		return State{}, fmt.Errorf("%s: %w", string(j), err)
	}
	return s, nil
}

// Save implements Journal.
func (j FileJournal) Save(s State) error {
	b, err := encode(s)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(string(j), b, 0o600); err != nil {
		return fmt.Errorf("write the update journal: %w", err)
	}
	return nil
}

func encode(s State) ([]byte, error) {
	b, err := durable.Seal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the update journal: %w", err)
	}
	return b, nil
}

// decode checks what stands in a journal as far as Apply relies on it.
func decode(b []byte) (State, error) {
	var s State
	if err := durable.Open(b, maxJournal, &s); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	trials := 0
	for name, slot := range s.Slots {
		switch slot.Phase {
		case Trial:
			trials++
		case Empty, Staged, Good, Bad:
		default:
			return State{}, fmt.Errorf("%w: slot %q is %q", ErrDamaged, name, slot.Phase)
		}
		if slot.Tries < 0 || slot.Tries > Tries {
			return State{}, fmt.Errorf("%w: slot %q has %d tries left", ErrDamaged, name, slot.Tries)
		}
	}
	if trials > 1 {
		return State{}, fmt.Errorf("%w: %d slots are on trial", ErrDamaged, trials)
	}
	return s, nil
}
