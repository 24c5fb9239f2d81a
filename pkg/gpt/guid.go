package gpt

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// GUID is an identifier in the order in which it is printed (RFC 9562). On
// disk its first three fields are little-endian; this package converts.
type GUID [16]byte

// The types of the partitions of a Digital Mycelium OS disk. EFI system and
// XBOOTLDR are the UEFI Specification's and the Discoverable Partitions
// Specification's, BIOSBoot is GRUB's; the others are the project's own.
//
//	type      label   what it holds
//	BIOSBoot  BIOS    GRUB, on boards that start by BIOS too
//	ESP       EFI     systemd-boot and the machine's configuration
//	XBOOTLDR  A or B  the committed slot: the one that the boot loader reads
//	Slot      A or B  the other slot
//	State     STATE   machine id, clock floor, configuration (ext4)
//	Data      DATA    images, containers, Kubernetes' database, volumes (ext4)
var (
	BIOSBoot = MustParseGUID("21686148-6449-6e6f-744e-656564454649")
	ESP      = MustParseGUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
	XBOOTLDR = MustParseGUID("bc13c2ff-59e6-4262-a352-b275fd6f7172")
	Slot     = MustParseGUID("5f0c6d1e-9a3b-4c57-8e42-7d1b0a94c3e1")
	State    = MustParseGUID("5f0c6d1e-9a3b-4c57-8e42-7d1b0a94c3e2")
	Data     = MustParseGUID("5f0c6d1e-9a3b-4c57-8e42-7d1b0a94c3e3")
)

// TypeByName returns the partition type that a board description calls name:
// "bios", "esp", "xbootldr", "slot", "state" or "data".
func TypeByName(name string) (GUID, error) {
	switch name {
	case "bios":
		return BIOSBoot, nil
	case "esp":
		return ESP, nil
	case "xbootldr":
		return XBOOTLDR, nil
	case "slot":
		return Slot, nil
	case "state":
		return State, nil
	case "data":
		return Data, nil
	}
	return GUID{}, fmt.Errorf("unknown partition type %q (want bios, esp, xbootldr, slot, state or data)", name)
}

// ParseGUID reads the usual 8-4-4-4-12 form, in either case.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return g, fmt.Errorf("parse GUID %q: not of the form 8-4-4-4-12", s)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(g) {
		return g, fmt.Errorf("parse GUID %q: not of the form 8-4-4-4-12", s)
	}
	copy(g[:], b)
	return g, nil
}

// MustParseGUID is ParseGUID for constants; it panics on a malformed one.
func MustParseGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}

// RandomGUID returns a new version 4 GUID.
func RandomGUID() GUID {
	var g GUID
	rand.Read(g[:]) // never fails: documented since Go 1.24
	return g.stamp(4)
}

// DeriveGUID returns a version 8 GUID that depends on parts alone, for builds
// whose output must not change from one run to the next.
func DeriveGUID(parts ...string) GUID {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	var g GUID
	copy(g[:], h.Sum(nil))
	return g.stamp(8)
}

func (g GUID) stamp(version byte) GUID {
	g[6] = g[6]&0x0f | version<<4
	g[8] = g[8]&0x3f | 0x80
	return g
}

// IsZero reports whether g is the all-zero GUID, the type of an unused entry.
func (g GUID) IsZero() bool { return g == GUID{} }

// String returns g in lower case, as Linux shows it.
func (g GUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", g[0:4], g[4:6], g[6:8], g[8:10], g[10:16])
}

// swap converts between printed and on-disk order; it is its own inverse.
func (g GUID) swap() GUID {
	g[0], g[1], g[2], g[3] = g[3], g[2], g[1], g[0]
	g[4], g[5] = g[5], g[4]
	g[6], g[7] = g[7], g[6]
	return g
}
