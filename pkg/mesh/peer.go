package mesh

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Key is a WireGuard public key (Curve25519).
type Key [32]byte

// String returns the key in base64, as wg(8) shows it.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// PublicKey returns the public half of a private key, which may be any 32
// secret bytes.
func PublicKey(private [32]byte) Key {
	k, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		panic(err) // every 32 bytes are a key (RFC 7748, 5)
	}
	return Key(k.PublicKey().Bytes())
}

// Peer is a machine to connect to.
type Peer struct {
	Key Key
	// Allowed are the destinations that are reached through it, and the only
	// sources that it may send from.
	Allowed []netip.Prefix
	// Endpoints are where it may be, the best first. Without any it is waited for.
	Endpoints []netip.AddrPort
}

// PeerStatus is what the kernel says of a peer.
type PeerStatus struct {
	Key Key
	// Endpoint is where packets go to at present; the zero AddrPort when none is known.
	Endpoint netip.AddrPort
	// LastHandshake is by this machine's clock at that time; zero when there was none.
	LastHandshake time.Time
	// Received and Sent are bytes.
	Received, Sent int64
}

// check returns the usable ones of peers by key, their prefixes in canonical
// form, and an error that names the others. Of two peers that claim one prefix
// the first has it and the second is left out.
func check(peers []Peer, own Key) (map[Key]Peer, error) {
	out := map[Key]Peer{}
	owner := map[netip.Prefix]Key{}
	var errs []error
	for _, p := range peers {
		allowed, err := canonical(p.Allowed)
		switch {
		case err != nil:
		case p.Key == Key{}:
			err = errors.New("it has no key")
		case p.Key == own:
			err = errors.New("it is this machine itself")
		default:
			if _, twice := out[p.Key]; twice {
				err = errors.New("it is named twice")
			}
		}
		for _, prefix := range allowed {
			if first, taken := owner[prefix]; taken && err == nil {
				err = fmt.Errorf("%s belongs to %s", prefix, first)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("peer %s is left out: %w", p.Key, err))
			continue
		}
		for _, prefix := range allowed {
			owner[prefix] = p.Key
		}
		out[p.Key] = Peer{Key: p.Key, Allowed: allowed, Endpoints: slices.Clone(p.Endpoints)}
	}
	return out, errors.Join(errs...)
}

// canonical returns prefixes without host bits, in order, each once.
func canonical(prefixes []netip.Prefix) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, p := range prefixes {
		if !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return nil, fmt.Errorf("%s is no range of addresses", p)
		}
		out = append(out, p.Masked())
	}
	slices.SortFunc(out, comparePrefixes)
	return slices.Compact(out), nil
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

func compareKeys(a, b Key) int { return bytes.Compare(a[:], b[:]) }
