package identity

import (
	"crypto/sha256"
	"errors"
	"testing"
)

// testKey returns the same key for the same label in every run.
func testKey(label string) PrivateKey {
	seed := sha256.Sum256([]byte(label))
	return PrivateKey{newSecret(string(seed[:]))}
}

func sign[T Object](t testing.TB, key PrivateKey, obj T) []byte {
	t.Helper()
	data, err := Sign(key, obj)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// parseAs is Parse for a kind that is known at run time.
func parseAs(k kind, data []byte) (any, error) {
	switch k {
	case kindRotation:
		return Parse[Rotation](data)
	case kindDelegation:
		return Parse[Delegation](data)
	case kindCertificate:
		return Parse[Certificate](data)
	case kindRevocation:
		return Parse[Revocation](data)
	case kindInvite:
		return Parse[Invite](data)
	case kindAnnouncement:
		return Parse[Announcement](data)
	case kindOSFile:
		return Parse[OSFile](data)
	default:
		return Parse[Request](data)
	}
}
