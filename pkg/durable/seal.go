package durable

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// sealed is a value with its checksum, against media that change what they keep.
type sealed struct {
	// Sum is the SHA-256 of State as it stands in the file, in hexadecimal.
	Sum   string          `json:"sum"`
	State json.RawMessage `json:"state"`
}

// Seal returns v as JSON with a checksum, for Open.
func Seal(v any) ([]byte, error) {
	state, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(state)
	return json.Marshal(sealed{Sum: hex.EncodeToString(sum[:]), State: state})
}

// Open stores in v, a pointer, what Seal was given. It is an error when data is longer
// than limit bytes, or not what Seal has returned.
func Open(data []byte, limit int, v any) error {
	if len(data) > limit {
		return fmt.Errorf("it has %d bytes, %d are the most", len(data), limit)
	}
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	if sum := sha256.Sum256(s.State); hex.EncodeToString(sum[:]) != s.Sum {
		return errors.New("its checksum is another one")
	}
	return json.Unmarshal(s.State, v)
}
