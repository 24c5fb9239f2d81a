package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/pkg/durable"
)

// What a client keeps is in two files of the same content, written one after the
// other: after a power cut one is whole, and when the medium has damaged one,
// the versions below which nothing is accepted are not lost with it.
const (
	firstCopy  = "trusted.json"
	secondCopy = "trusted-copy.json"
)

// maxState is the size in bytes that a kept file never reaches.
const maxState = 2 * (maxRoot + maxTimestamp + maxSnapshot + maxTargets)

// state is the metadata that a client trusts, as it came. What is missing is nil.
type state struct {
	// Count is one more each time that it is written.
	Count uint64 `json:"count"`
	// Anchor is the digest of the first root file that all of it follows from.
	Anchor    string `json:"anchor"`
	Root      []byte `json:"root,omitempty"`
	Timestamp []byte `json:"timestamp,omitempty"`
	// ETag is the server's for the timestamp.
	ETag     string `json:"etag,omitempty"`
	Snapshot []byte `json:"snapshot,omitempty"`
	Targets  []byte `json:"targets,omitempty"`
}

func encodeState(s state) ([]byte, error) {
	b, err := durable.Seal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the release metadata: %w", err)
	}
	return b, nil
}

// decodeState returns what encodeState wrote, or an error that wraps ErrDamaged.
func decodeState(data []byte) (state, error) {
	var s state
	if err := durable.Open(data, maxState, &s); err != nil {
		return state{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, nil
}

// load returns the later of the two copies, and whether both are as they should
// be. The error says that there was something and none of it can be trusted.
func load(dir string) (s state, same bool, err error) {
	var problems []error
	var found []state
	for _, name := range []string{firstCopy, secondCopy} {
		one, err := loadCopy(filepath.Join(dir, name))
		switch {
		case err == nil:
			found = append(found, one)
		case !errors.Is(err, fs.ErrNotExist):
			problems = append(problems, err)
		}
	}
	for _, one := range found {
		if one.Count >= s.Count {
			s = one
		}
	}
	if len(found) == 0 {
		return state{}, len(problems) == 0, errors.Join(problems...)
	}
	return s, len(found) == 2 && found[0].Count == found[1].Count, nil
}

func loadCopy(path string) (state, error) {
	f, err := os.Open(path)
	if err != nil {
		return state{}, fmt.Errorf("read the release metadata: %w", err)
	}
	defer f.Close()
	data, err := readAll(f, maxState)
	if err != nil {
		return state{}, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	s, err := decodeState(data)
	if err != nil {
		return state{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
