package update

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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

// FileJournal is a Journal in a file of that path, whose directory exists.
type FileJournal string

// envelope is the file's content: JSON, with fields that an older or newer
// version does not know left alone.
type envelope struct {
	// Sum is the SHA-256 of State as it stands in the file.
	Sum   string          `json:"sum"`
	State json.RawMessage `json:"state"`
}

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
	state, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the update journal: %w", err)
	}
	sum := sha256.Sum256(state)
	return json.Marshal(envelope{Sum: hex.EncodeToString(sum[:]), State: state})
}

// decode checks what stands in a journal as far as Apply relies on it.
func decode(b []byte) (State, error) {
	var e envelope
	if len(b) > maxJournal {
		return State{}, fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if sum := sha256.Sum256(e.State); hex.EncodeToString(sum[:]) != e.Sum {
		return State{}, fmt.Errorf("%w: its checksum is another one", ErrDamaged)
	}
	var s State
	if err := json.NewDecoder(bytes.NewReader(e.State)).Decode(&s); err != nil {
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
