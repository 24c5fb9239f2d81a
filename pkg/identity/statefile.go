package identity

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/digital-mycelium/os/pkg/durable"
)

const maxState = 64 << 20 // bytes of a state file

// A state file is a line that names it, the canonical encoding of its contents
// and the SHA-256 of both.

func stateHeader(name string) []byte { return []byte("mycelium " + name + " v1\n") }

// readState reads the state file at path. Its errors wrap fs.ErrNotExist when
// there is none and ErrState when it is not whole.
func readState(path, name string, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the %s: %w", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err != nil {
		return fmt.Errorf("read the %s: %w", name, err)
	}
	if err := decodeState(data, name, into); err != nil {
		return fmt.Errorf("read the %s %s: %w: %w: restore it from a backup; removing it forgets what must not be forgotten", name, path, ErrState, err)
	}
	return nil
}

func decodeState(data []byte, name string, into any) error {
	rest, ok := bytes.CutPrefix(data, stateHeader(name))
	if !ok || len(rest) < sha256.Size {
		return fmt.Errorf("it is cut short or another file (%d bytes)", len(data))
	}
	end := len(data) - sha256.Size
	if sum := sha256.Sum256(data[:end]); !bytes.Equal(sum[:], data[end:]) {
		return errors.New("its checksum is wrong")
	}
	return decode(rest[:len(rest)-sha256.Size], maxState, into)
}

// writeState writes the state file at path so that a power cut leaves the old
// contents or the new. What is detached has an empty path and keeps nothing.
func writeState(path, name string, from any) error {
	if path == "" {
		return nil
	}
	return saveState(durable.WriteFile, path, name, from)
}

// createState is writeState for a file that must not exist yet.
func createState(path, name string, from any) error {
	return saveState(durable.CreateFile, path, name, from)
}

func saveState(save func(string, []byte, fs.FileMode) error, path, name string, from any) error {
	body, err := encoding.Marshal(from)
	if err != nil {
		return fmt.Errorf("encode the %s: %w", name, err)
	}
	data := append(stateHeader(name), body...)
	sum := sha256.Sum256(data)
	if err := save(path, append(data, sum[:]...), 0o600); err != nil {
		return fmt.Errorf("save the %s: %w", name, err)
	}
	return nil
}
