package release

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Errors that a caller may want to tell from others.
var (
	// ErrExpired says that metadata is older than its signers let it be: the server
	// is not maintained any more, somebody keeps newer metadata away (a freeze
	// attack), or the machine's clock is ahead.
	ErrExpired = errors.New("expired")
	// ErrRollback says that metadata is older than what was seen before.
	ErrRollback = errors.New("rolled back")
	// ErrSignature says that too few of the keys that count have signed.
	ErrSignature = errors.New("not signed by enough of the keys that count")
	// ErrMix says that metadata is not the one that other metadata names.
	ErrMix = errors.New("not what the signed metadata names")
	// ErrTampered says that a file is not the one that was released.
	ErrTampered = errors.New("not the file that was released")
	// ErrTooLarge says that a server sent more than it should.
	ErrTooLarge = errors.New("too large")
	// ErrMalformed says that something is not in the form that it must have.
	ErrMalformed = errors.New("malformed")
	// ErrRoot says that the first root file is not the one that was configured.
	ErrRoot = errors.New("not the configured root")
	// ErrNotFound says that a server has no file of that name.
	ErrNotFound = errors.New("not found")
	// ErrDamaged says that what was kept on this machine could not be read back.
	ErrDamaged = errors.New("the kept release metadata is damaged")
)

// classify gives a library's error the sentinel that callers know. versions is
// the sentinel for a version that is not the right one.
func classify(name string, err, versions error) error {
	kind := ErrMalformed
	var broken *json.SyntaxError
	switch {
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		kind = ErrExpired
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		kind = ErrSignature
	case errors.Is(err, &metadata.ErrBadVersionNumber{}):
		kind = versions
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}):
		kind = ErrMix
	case errors.As(err, &broken):
	case errors.Is(err, &metadata.ErrRepository{}): // metadata that was there is no longer named
		kind = versions
	}
	return fmt.Errorf("%s: %w: %v", name, kind, err) //nolint:errorlint // the library's errors are no part of the API
}
