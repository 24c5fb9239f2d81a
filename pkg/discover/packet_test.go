package discover

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

var (
	ours   = identity.NetworkID{1, 2, 3, 15: 4}
	theirs = identity.NetworkID{1, 2, 3, 15: 5}
)

func TestPacket(t *testing.T) {
	p := prefixOf(ours)
	want := append([]byte("MYCD\x01\x01\x02\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04"), 2, 5, 0, 0, 0, 0, 0, 0, 0, 1, 2)
	k := packet{kindHere, Flags{Member: true, Server: true}, 0x102}
	b := p.encode(k)
	if !bytes.Equal(b[:], want) {
		t.Errorf("%x, want %x", b, want)
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   verdict
	}{
		"as it is":        {func(b []byte) []byte { return b }, own},
		"asks":            {func(b []byte) []byte { b[21] = kindQuery; return b }, own},
		"another network": {func(b []byte) []byte { b[20]++; return b }, foreign},
		"another, wrong":  {func(b []byte) []byte { b[20]++; b[21] = 9; return b }, foreign},
		"other magic":     {func(b []byte) []byte { b[0]++; return b }, malformed},
		"version 2":       {func(b []byte) []byte { b[4]++; return b }, malformed},
		"kind 0":          {func(b []byte) []byte { b[21] = 0; return b }, malformed},
		"kind 3":          {func(b []byte) []byte { b[21] = 3; return b }, malformed},
		"unknown flag":    {func(b []byte) []byte { b[22] |= 8; return b }, malformed},
		"reserved":        {func(b []byte) []byte { b[23] = 1; return b }, malformed},
		"cut short":       {func(b []byte) []byte { return b[:packetLen-1] }, malformed},
		"longer":          {func(b []byte) []byte { return append(b, 0) }, malformed},
		"empty":           {func([]byte) []byte { return nil }, malformed},
	} {
		got, v := p.decode(c.change(bytes.Clone(b[:])))
		if v != c.want || v != own && got != (packet{}) {
			t.Errorf("%s: %v, %+v", name, v, got)
		}
	}
	for flags := range byte(8) {
		k := packet{kindQuery, Flags{flags&1 != 0, flags&2 != 0, flags&4 != 0}, rand.Uint64()}
		b := p.encode(k)
		if got, v := p.decode(b[:]); v != own || got != k {
			t.Errorf("%+v: %+v, %v", k, got, v)
		}
	}
}

// Whatever others send is counted and costs no memory.
func TestUnwantedPacketsCostNothing(t *testing.T) {
	l := newListener(Options{Network: ours}, nil, nil, time.Second)
	mine, other := prefixOf(ours), prefixOf(theirs)
	fine, strange := mine.encode(packet{kindHere, Flags{Member: true}, 7}), other.encode(packet{kindQuery, Flags{}, 8})
	from := netip.MustParseAddr("fe80::1%eth0")
	l.receive(fine[:], from, nil)
	noise := bytes.Repeat([]byte{'M'}, 2*packetLen)
	const rounds = 1000
	if allocs := testing.AllocsPerRun(rounds-1, func() {
		l.receive(fine[:], from, nil)
		l.receive(strange[:], from, nil)
		l.receive(noise, from, nil)
		l.receive(nil, from, nil)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if got, want := l.Counters(), (Counters{Heard: 1, Repeated: rounds, Foreign: rounds, Malformed: 2 * rounds}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if len(l.queue) != 1 {
		t.Errorf("%d packets wait", len(l.queue))
	}
	// a flood of packets that look right fills the queue and nothing else
	for id := range uint64(rounds) {
		b := mine.encode(packet{kindHere, Flags{Member: true}, 1000 + id})
		l.receive(b[:], from, nil)
	}
	if got := l.Counters(); len(l.queue) != queueMost || got.Dropped != rounds-queueMost+1 {
		t.Errorf("%d wait, %+v", len(l.queue), got)
	}
}

func TestHintsAreLimited(t *testing.T) {
	var hints int
	l := newListener(Options{Network: ours, Flags: func() Flags { return Flags{} }}, func(Hint) { hints++ }, nil, time.Second)
	s := &socket{}
	l.sockets[s.place] = s
	now := time.Unix(1000, 0)
	for range 100 {
		l.handle(event{packet: packet{kind: kindHere}, at: s}, now)
	}
	if got := l.Counters().Dropped; hints != hintsMost || got != 100-hintsMost {
		t.Errorf("%d hints, %d dropped", hints, got)
	}
	l.handle(event{packet: packet{kind: kindHere}, at: s}, now.Add(time.Second))
	if hints != hintsMost+1 {
		t.Errorf("%d hints in the next second", hints-hintsMost)
	}
	l.handle(event{packet: packet{kind: kindHere}, at: &socket{}}, now.Add(2*time.Second)) // of a socket that was closed
	if hints != hintsMost+1 {
		t.Error("a hint from a closed socket")
	}
}

func FuzzPacket(f *testing.F) {
	p := prefixOf(ours)
	for _, k := range []packet{{kindQuery, Flags{}, 1}, {kindHere, Flags{true, true, true}, 1 << 63}} {
		b := p.encode(k)
		f.Add(b[:])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, v := p.decode(data)
		if v != own {
			return
		}
		if again := p.encode(k); !bytes.Equal(again[:], data) {
			t.Errorf("%x has a second encoding: %x", data, again)
		}
	})
}
