package release

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// The library takes for granted that signed metadata has what it must have. These
// functions see to it before, since a null where an object should be must not end
// the process.

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

func rootShape(data []byte) error {
	root, err := metadata.Root().FromBytes(data)
	if err != nil {
		return malformed("%v", err)
	}
	if !root.Signed.ConsistentSnapshot {
		return malformed("the repository does not make consistent snapshots")
	}
	for id, key := range root.Signed.Keys {
		if key == nil || key.Type != metadata.KeyTypeEd25519 || key.Scheme != metadata.KeySchemeEd25519 {
			return malformed("key %.80q is not an Ed25519 key", id)
		}
		if b, err := hex.DecodeString(key.Value.PublicKey); err != nil || len(b) != ed25519.PublicKeySize {
			return malformed("key %.80q is not an Ed25519 key", id)
		}
	}
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		role := root.Signed.Roles[name]
		if role == nil || role.Threshold < 1 {
			return malformed("the role %s is missing, or has no threshold", name)
		}
		for _, id := range role.KeyIDs {
			if root.Signed.Keys[id] == nil {
				return malformed("the role %s has a key %.80q that is not there", name, id)
			}
		}
	}
	return nil
}

// metaShape checks what the timestamp or the snapshot says of another file.
func metaShape(meta map[string]*metadata.MetaFiles, name string) error {
	for other, m := range meta {
		if m == nil || m.Version < 1 || m.Length < 0 {
			return malformed("what it says of %.80q makes no sense", other)
		}
	}
	if meta[name] == nil {
		return malformed("it does not name %s", name)
	}
	return nil
}

func timestampShape(data []byte) error {
	m, err := metadata.Timestamp().FromBytes(data)
	if err != nil {
		return malformed("%v", err)
	}
	return metaShape(m.Signed.Meta, "snapshot.json")
}

func snapshotShape(data []byte) error {
	m, err := metadata.Snapshot().FromBytes(data)
	if err != nil {
		return malformed("%v", err)
	}
	return metaShape(m.Signed.Meta, "targets.json")
}

func targetsShape(data []byte) error {
	m, err := metadata.Targets().FromBytes(data)
	if err != nil {
		return malformed("%v", err)
	}
	for name, file := range m.Signed.Targets {
		if file == nil {
			return malformed("the target %.80q is null", name)
		}
	}
	return nil
}
