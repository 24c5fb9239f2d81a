package identity

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/semver"
)

const (
	maxVersion    = 64      // bytes of OSFile.Version
	maxOSFileSize = 1 << 40 // bytes
)

// OSFile is a developer's statement that nodes of a network may run an OS file
// that is no release. It counts where the configuration of the node names Key as
// a developer's.
type OSFile struct {
	_       struct{} `cbor:",toarray"`
	Network NetworkID
	Key     PublicKey // signs
	Version string    // a full semantic version without a leading v, such as 1.2.3-rc.1
	Board   string    // the only one it is for: 1 to 63 of a-z, 0-9 and "-"
	Digest  [32]byte  // SHA-256 of the file
	Size    uint64    // of the file, in bytes
	// Downgrade allows the file where a higher version was good already.
	Downgrade bool
	// NotAfter ends the time in which the file can be staged. A file that is staged stays.
	NotAfter time.Time
}

func (*OSFile) kind() kind          { return kindOSFile }
func (o *OSFile) signer() PublicKey { return o.Key }

func (o *OSFile) check() error {
	switch {
	case o.Network == NetworkID{}:
		return errors.New("the network is missing")
	case o.Digest == [32]byte{}:
		return errors.New("the digest is missing")
	case o.Size < 1 || o.Size > maxOSFileSize:
		return fmt.Errorf("size of %d bytes, want 1 to %d", o.Size, uint64(maxOSFileSize))
	case len(o.Version) > maxVersion:
		return fmt.Errorf("version of %d bytes, at most %d are allowed", len(o.Version), maxVersion)
	case !fullVersion(o.Version):
		return fmt.Errorf("version %q: want a full semantic version such as 1.2.3", o.Version)
	}
	if err := checkName(o.Board); err != nil {
		return fmt.Errorf("board: %w", err)
	}
	return checkTime(o.NotAfter)
}

// fullVersion says whether s is a semantic version (2.0.0) without a leading v.
func fullVersion(s string) bool {
	v := "v" + s
	return semver.IsValid(v) && semver.Canonical(v)+semver.Build(v) == v
}
