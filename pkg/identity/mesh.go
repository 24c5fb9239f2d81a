package identity

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// MeshPrefix holds the mesh addresses of every network (RFC 6598).
var MeshPrefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)

// MeshAddress returns the address on the mesh of the node with that key. It is a
// hash of the key in MeshPrefix, never the first or the last address there. Two
// keys may have the same one; one is found within seconds by who looks for it,
// so that whoever goes by addresses must know which key was there first.
func MeshAddress(key PublicKey) netip.Addr {
	h := sha256.New()
	h.Write([]byte("digital-mycelium mesh address v1\x00"))
	h.Write(key[:])
	hosts := uint64(1)<<(32-MeshPrefix.Bits()) - 2
	host := 1 + binary.BigEndian.Uint64(h.Sum(nil))%hosts
	base := MeshPrefix.Addr().As4()
	var out [4]byte
	binary.BigEndian.PutUint32(out[:], binary.BigEndian.Uint32(base[:])|uint32(host))
	return netip.AddrFrom4(out)
}

// Derive returns a secret for the purpose label (HKDF-SHA256, RFC 5869, of the
// key's seed). It tells nothing about the key or about the secrets of other
// labels. It panics for the zero key, whose secrets would be known to everybody.
func (k PrivateKey) Derive(label string) [32]byte {
	if k.IsZero() {
		panic("identity: Derive from no key")
	}
	return [32]byte(must(hkdf.Key(sha256.New, []byte(k.reveal()), nil, "digital-mycelium derive v1 "+label, 32)))
}
