package discover

import (
	"bytes"
	"encoding/binary"

	"github.com/digital-mycelium/os/pkg/identity"
)

const (
	packetLen = 32
	prefixLen = 21 // magic, version, network: what all packets of a network begin with
	magicLen  = 5

	kindQuery = 1
	kindHere  = 2

	flagMember = 1
	flagIssuer = 2
	flagServer = 4
)

// magic includes the version.
var magic = [magicLen]byte{'M', 'Y', 'C', 'D', 1}

// Flags is what a node says of itself. It is a claim: the node's certificate
// says what is true.
type Flags struct {
	Member bool // of the network; others do not answer
	Issuer bool // admits newcomers
	Server bool // runs a Kubernetes server
}

// packet is what the datagrams of one network say.
type packet struct {
	kind  byte
	flags Flags
	id    uint64 // random
}

// prefix is the beginning of every packet of a network.
type prefix [prefixLen]byte

func prefixOf(network identity.NetworkID) (p prefix) {
	copy(p[copy(p[:], magic[:]):], network[:])
	return p
}

func (p *prefix) encode(k packet) (out [packetLen]byte) {
	copy(out[:], p[:])
	out[21] = k.kind
	for _, f := range [...]struct {
		set bool
		bit byte
	}{{k.flags.Member, flagMember}, {k.flags.Issuer, flagIssuer}, {k.flags.Server, flagServer}} {
		if f.set {
			out[22] |= f.bit
		}
	}
	binary.BigEndian.PutUint64(out[24:], k.id)
	return out
}

// verdict is what a datagram is to a network.
type verdict int

const (
	malformed verdict = iota // none of ours, or of another version
	foreign                  // of another network
	own
)

// decode reads a datagram. It does not allocate.
func (p *prefix) decode(b []byte) (k packet, v verdict) {
	if len(b) != packetLen || !bytes.Equal(b[:prefixLen], p[:]) {
		if len(b) == packetLen && bytes.Equal(b[:magicLen], magic[:]) {
			return packet{}, foreign
		}
		return packet{}, malformed
	}
	f := b[22]
	if b[21] != kindQuery && b[21] != kindHere || f&^(flagMember|flagIssuer|flagServer) != 0 || b[23] != 0 {
		return packet{}, malformed
	}
	return packet{
		kind:  b[21],
		flags: Flags{Member: f&flagMember != 0, Issuer: f&flagIssuer != 0, Server: f&flagServer != 0},
		id:    binary.BigEndian.Uint64(b[24:]),
	}, own
}
