package members

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

// Any order of the same records, in one piece or in many, some of them twice,
// gives the same directory.
func TestTheOrderDoesNotMatter(t *testing.T) {
	n := newNetwork(t)
	r := rand.New(rand.NewPCG(1, 2))
	var records []Record
	for i := range 8 {
		m := n.node(fmt.Sprintf("node-%d", i))
		for range 6 {
			record := Record{Credential: m.credential(func(c *identity.Certificate) {
				c.NotAfter = t0.Add(time.Duration(1+r.IntN(3)) * day)
			})}
			if r.IntN(4) > 0 {
				record.Announcement = m.announcement(1 + r.Uint64N(3))
			}
			records = append(records, record)
		}
		// a node that says two things under one version
		twice, err := identity.Sign(m.PrivateKey, identity.Announcement{Network: n.id, Key: m.Public(), Version: 3, OS: "other"})
		noErr(t, err)
		records = append(records, Record{m.credential(nil), twice})
	}
	records = append(records, Record{Credential: []byte("bad")})
	var want string
	for round := range 30 {
		d, _ := n.open()
		r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		for rest := records; len(rest) > 0; {
			piece := 1 + r.IntN(len(rest))
			_, _ = d.Merge(rest[:piece]) // the bad one is refused in one of them
			rest = rest[max(1, piece-r.IntN(3)):]
		}
		if got := state(d); round == 0 {
			want = got
		} else if got != want {
			t.Fatalf("round %d: another state", round)
		}
	}
	if len(want) != 8*32 {
		t.Errorf("%d nodes", len(want)/32)
	}
}

// One hundred nodes, of which each knows itself and one other, exchange records
// with random ones that they know.
func TestGossipConverges(t *testing.T) {
	const nodes = 100
	n := newNetwork(t)
	dirs := make([]*Directory, nodes)
	place := map[identity.PublicKey]int{}
	for i := range dirs {
		dirs[i], _ = n.open()
		m := n.node(fmt.Sprintf("node-%d", i))
		place[m.Public()] = i
		noErr(t, dirs[i].SetSelf(m.PrivateKey, m.credential(nil), identity.Announcement{OS: "test"}))
		if i > 0 {
			merge(t, dirs[i], true, dirs[i/2].Records()...)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for round := 1; ; round++ {
		for i, d := range dirs {
			known := d.Members()
			other := dirs[place[known[r.IntN(len(known))].Key]]
			if other == dirs[i] {
				continue
			}
			_, err := other.Merge(d.Records())
			noErr(t, err)
			_, err = d.Merge(other.Records())
			noErr(t, err)
		}
		same := 0
		for _, d := range dirs {
			if state(d) == state(dirs[0]) && len(d.Members()) == nodes {
				same++
			}
		}
		if same == nodes {
			t.Logf("%d nodes agree after %d rounds", nodes, round)
			break
		}
		if round == 20 {
			t.Fatalf("%d of %d nodes agree after %d rounds", same, nodes, round)
		}
	}
	for _, d := range dirs {
		merge(t, d, false, dirs[0].Records()...)
	}
}

// FuzzRecord gives a directory records by strangers: what it takes other than
// the seeds is a forgery.
func FuzzRecord(f *testing.F) {
	n := newNetwork(f)
	a, b := n.node("a"), n.node("b")
	seeds := []Record{a.record(1), b.record(2)}
	f.Add(seeds[0].Credential, seeds[0].Announcement)
	f.Add(seeds[1].Credential, []byte{})
	f.Add(seeds[1].Credential, seeds[0].Announcement)
	f.Fuzz(func(t *testing.T, credential, announcement []byte) {
		n.t = t
		d, _ := n.open()
		_, _ = d.Merge([]Record{{credential, announcement}})
		for _, r := range d.Records() {
			genuine := false
			for _, s := range seeds {
				genuine = genuine || bytes.Equal(r.Credential, s.Credential) && (len(r.Announcement) == 0 || bytes.Equal(r.Announcement, s.Announcement))
			}
			if !genuine {
				t.Errorf("forged: %x, %x", r.Credential, r.Announcement)
			}
		}
	})
}

// FuzzFile: whatever the file says, the directory can be used, and what it took
// from the file comes back from one that it writes.
func FuzzFile(f *testing.F) {
	n := newNetwork(f)
	for _, records := range [][]Record{{n.node("a").record(1), n.node("b").record(2)}, {}, {{Credential: []byte{1}}}} {
		data, err := encodeFile(records)
		noErr(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := decodeFile(data)
		if err != nil {
			return
		}
		again, err := encodeFile(records)
		noErr(t, err)
		back, err := decodeFile(again)
		if err != nil || len(back) != len(records) {
			t.Fatalf("%d records, read again %d: %v", len(records), len(back), err)
		}
		for i := range back {
			if back[i].hash() != records[i].hash() {
				t.Errorf("record %d differs", i)
			}
		}
		n.t = t
		d, _ := n.open()
		_, _ = d.Merge(records)
	})
}
