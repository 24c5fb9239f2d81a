package members

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

func TestMergeKeepsTheBestOfEachNode(t *testing.T) {
	n := newNetwork(t)
	d, path := n.open()
	m := n.node("node-1")
	changed := d.Changed()
	short := m.credential(func(c *identity.Certificate) { c.NotAfter = t0.Add(5 * day) })
	merge(t, d, true, Record{Credential: short})
	if !fired(changed) || fired(d.Changed()) {
		t.Error("Changed does not tell of one change")
	}
	if got := d.Members(); len(got) != 1 || got[0].Announced != 0 || len(got[0].Addresses) != 0 || got[0].Address != identity.MeshAddress(m.Public()) {
		t.Errorf("%+v", got)
	}
	merge(t, d, true, Record{short, m.announcement(3)})
	merge(t, d, false, Record{short, m.announcement(2)}, Record{Credential: short})
	long := m.credential(nil)
	merge(t, d, true, Record{long, m.announcement(1)})
	merge(t, d, false, Record{short, m.announcement(3)}, Record{long, m.announcement(3)})
	got := d.Members()
	if len(got) != 1 || got[0].Announced != 3 || got[0].Addresses[0] != netip.MustParseAddr("10.0.0.3") || !got[0].NotAfter.Equal(t0.Add(10*day)) || got[0].OS != "test" {
		t.Errorf("%+v", got)
	}
	if got[0].Serving {
		t.Error("an agent serves because it says so")
	}
	merge(t, d, true, Record{m.credential(func(c *identity.Certificate) { c.NotAfter, c.Caps.Node = t0.Add(11*day), identity.Server }), nil})
	if got := d.Members(); !got[0].Serving {
		t.Errorf("a server does not serve: %+v", got)
	}

	before, err := os.Stat(path)
	noErr(t, err)
	merge(t, d, false, d.Records()...)
	after, err := os.Stat(path)
	noErr(t, err)
	if !os.SameFile(before, after) {
		t.Error("written without a change")
	}
	again, err := Open(path, n.v)
	noErr(t, err)
	if state(again) != state(d) || before.Mode().Perm() != 0o600 {
		t.Errorf("another state after a restart, or mode %v", before.Mode())
	}
}

func TestBadRecordsAreCountedAndTheOthersTaken(t *testing.T) {
	n, stranger := newNetwork(t), newNetwork(t)
	d, _ := n.open()
	good, other := n.node("good"), n.node("other")
	flipped := good.record(1)
	flipped.Credential = bytes.Clone(flipped.Credential)
	flipped.Credential[200] ^= 1
	revoked := n.node("revoked")
	revokedRecord := revoked.record(1)
	n.revoke(revoked.Public())
	for name, c := range map[string]struct {
		r    Record
		want error
	}{
		"nothing":                      {Record{}, identity.ErrMalformed},
		"an announcement alone":        {Record{nil, good.announcement(1)}, identity.ErrMalformed},
		"a flipped bit":                {flipped, identity.ErrSignature},
		"another network":              {stranger.node("x").record(1), identity.ErrWrongNetwork},
		"a revoked node":               {revokedRecord, identity.ErrRevoked},
		"another node's announcement":  {Record{good.credential(nil), other.announcement(1)}, identity.ErrSignature},
		"another network's":            {Record{good.credential(nil), node{good.PrivateKey, stranger, "good"}.announcement(1)}, identity.ErrSignature},
		"a damaged announcement":       {Record{good.credential(nil), good.announcement(1)[1:]}, identity.ErrMalformed},
		"a credential as announcement": {Record{good.credential(nil), good.credential(nil)}, identity.ErrMalformed},
		"a person": {Record{Credential: good.credential(func(c *identity.Certificate) {
			c.Caps, c.Mesh = identity.Caps{API: identity.Admin}, [32]byte{}
		})}, identity.ErrRole},
		"just expired": {Record{Credential: good.credential(func(c *identity.Certificate) { c.NotAfter = t0.Add(time.Minute) })}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := n.open()
			fine := other.record(1)
			if c.want == nil { // within its grace it is taken, but does not count
				n.now = t0.Add(time.Hour)
				defer func() { n.now = t0 }()
				merge(t, d, true, c.r, fine)
				if got := names(d.Members()) + "/" + names(d.Lapsed()); got != "other/good" {
					t.Error(got)
				}
				return
			}
			changed, err := d.Merge([]Record{c.r, fine, c.r})
			wantErr(t, err, c.want)
			if !changed || names(d.Members()) != "other" || !strings.Contains(err.Error(), " 2 refused") {
				t.Errorf("members %q, %v", names(d.Members()), err)
			}
		})
	}
	if _, err := d.Merge(make([]Record, MaxMembers+7)); err == nil || !strings.Contains(err.Error(), "4103 refused") {
		t.Errorf("too many records: %v", err)
	}
}

func TestExpiryAndRevocation(t *testing.T) {
	n := newNetwork(t)
	d, path := n.open()
	a, b, c := n.node("a"), n.node("b"), n.node("c")
	late := c.credential(func(c *identity.Certificate) { c.NotAfter = t0.Add(20 * day) })
	records := []Record{a.record(1), b.record(1), {Credential: late}}
	merge(t, d, true, records...)
	n.revoke(b.Public())
	if names(d.Members()) != "a c" {
		t.Errorf("a revoked node counts: %s", names(d.Members()))
	}
	changed, err := d.Prune()
	noErr(t, err)
	if !changed || len(d.Records()) != 2 {
		t.Errorf("the revoked node is handed on: %d records", len(d.Records()))
	}
	if _, err = d.Merge(records); err == nil || len(d.Records()) != 2 {
		t.Errorf("a revoked node comes back: %v", err)
	}
	n.now = t0.Add(10 * day)
	if names(d.Members()) != "c" || names(d.Lapsed()) != "a" || len(d.Records()) != 2 {
		t.Errorf("members %q, lapsed %q", names(d.Members()), names(d.Lapsed()))
	}
	if changed, err := d.Prune(); changed || err != nil {
		t.Errorf("dropped within its grace: %v", err)
	}
	// a restart knows the same
	if again, err := Open(path, n.v); err != nil || state(again) != state(d) {
		t.Errorf("opened again: %v", err)
	}
	n.now = t0.Add(10*day + Grace)
	if changed, err := d.Prune(); !changed || err != nil || len(d.Records()) != 1 {
		t.Errorf("kept after its grace: %v", err)
	}
	if _, err := d.Merge(records[:1]); err == nil {
		t.Error("taken after its grace")
	}
	n.now = t0.Add(21 * day)
	again, err := Open(path, n.v) // what time took away is no damage
	noErr(t, err)
	if len(again.Records()) != 0 {
		t.Errorf("%d records", len(again.Records()))
	}
}

func TestConflicts(t *testing.T) {
	n := newNetwork(t)
	a, b := sameAddress(n)
	ra, rb := a.record(1), b.record(1)
	d, _ := n.open()
	merge(t, d, true, ra)
	_, err := d.Merge([]Record{rb})
	wantErr(t, err, ErrConflict)
	wantErr(t, d.Conflict(b.Public(), b.Derive("mesh")), ErrConflict)
	noErr(t, d.Conflict(a.Public(), a.Derive("mesh")))
	if names(d.Members()) != "a" {
		t.Errorf("members %q", names(d.Members()))
	}
	// whoever takes another's mesh key, at its admission or later, gets nothing
	thief := n.node("thief")
	steal := func(c *identity.Certificate) { c.Mesh, c.NotAfter = a.Derive("mesh"), t0.Add(20*day) }
	_, err = d.Merge([]Record{{Credential: thief.credential(steal)}})
	wantErr(t, err, ErrConflict)
	merge(t, d, true, thief.record(1))
	_, err = d.Merge([]Record{{Credential: thief.credential(steal)}})
	wantErr(t, err, ErrConflict)
	if got := d.Members(); names(got) != "a thief" || got[1].Mesh != thief.Derive("mesh") {
		t.Errorf("%+v", got)
	}
	// a mesh key may change, and the former is free then
	merge(t, d, true, Record{Credential: thief.credential(func(c *identity.Certificate) { c.Mesh, c.NotAfter = [32]byte{9}, t0.Add(20*day) })})
	noErr(t, d.Conflict(n.node("x").Public(), thief.Derive("mesh")))
	// the address is free when the first has gone
	n.revoke(a.Public())
	merge(t, d, true, rb)
	if names(d.Members()) != "b thief" {
		t.Errorf("members %q", names(d.Members()))
	}
}

// sameAddress returns two nodes that share a mesh address.
func sameAddress(n *network) (a, b node) {
	seen := map[netip.Addr]identity.PrivateKey{}
	for {
		k := identity.GenerateKey()
		at := identity.MeshAddress(k.Public())
		if first, ok := seen[at]; ok {
			return node{first, n, "a"}, node{k, n, "b"}
		}
		seen[at] = k
	}
}

func TestBounded(t *testing.T) {
	n := newNetwork(t)
	d, _ := n.open()
	for i := range uint32(MaxMembers) { // as if they had been merged
		var k identity.PublicKey
		binary.BigEndian.PutUint32(k[:], i)
		d.entries[k] = &entry{}
	}
	wantErr(t, d.Conflict(identity.GenerateKey().Public(), [32]byte{1}), ErrFull)
	noErr(t, d.Conflict(identity.PublicKey{}, [32]byte{1}))
}

func TestSelf(t *testing.T) {
	n := newNetwork(t)
	d, path := n.open()
	m := n.node("me")
	credential := m.credential(nil)
	says := identity.Announcement{Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Issuer: true, OS: "1"}
	noErr(t, d.SetSelf(m.PrivateKey, credential, says))
	first := d.Members()[0]
	if first.Announced != uint64(t0.Unix()) || !first.Issuer || first.OS != "1" {
		t.Errorf("%+v", first)
	}
	changed := d.Changed()
	noErr(t, d.SetSelf(m.PrivateKey, credential, says))
	if fired(changed) {
		t.Error("the same again is a change")
	}
	says.OS = "2"
	noErr(t, d.SetSelf(m.PrivateKey, credential, says))
	if got := d.Members()[0]; got.Announced != first.Announced+1 || got.OS != "2" || !fired(changed) {
		t.Errorf("%+v", got)
	}
	// after a restart it goes on
	d, err := Open(path, n.v)
	noErr(t, err)
	changed = d.Changed()
	noErr(t, d.SetSelf(m.PrivateKey, credential, says))
	if fired(changed) {
		t.Error("the same after a restart is a change")
	}
	// somebody knows a later announcement by this key
	_, err = d.Merge([]Record{{credential, m.announcement(1 << 40)}})
	wantErr(t, err, ErrCopy)
	if got := d.Members()[0]; got.Announced != 1<<40+1 || got.OS != "2" {
		t.Errorf("%+v", got)
	}
	merge(t, d, false, Record{credential, m.announcement(1 << 40)}) // heard again, it changes nothing
	renewed := m.credential(func(c *identity.Certificate) { c.NotAfter = t0.Add(20 * day) })
	noErr(t, d.SetSelf(m.PrivateKey, renewed, says))
	if got := d.Members()[0]; got.Announced != 1<<40+1 || !got.NotAfter.Equal(t0.Add(20*day)) {
		t.Errorf("%+v", got)
	}

	wantErr(t, d.SetSelf(n.node("x").PrivateKey, credential, says), identity.ErrSignature)
	says.OS = strings.Repeat("x", 65)
	wantErr(t, d.SetSelf(m.PrivateKey, credential, says), identity.ErrMalformed)
	a, b := sameAddress(n)
	merge(t, d, true, a.record(1))
	wantErr(t, d.SetSelf(b.PrivateKey, b.credential(nil), identity.Announcement{}), ErrConflict)
}

func TestDamagedFile(t *testing.T) {
	n := newNetwork(t)
	d, path := n.open()
	a, b := n.node("a"), n.node("b")
	merge(t, d, true, a.record(1), b.record(1))
	whole, err := os.ReadFile(path)
	noErr(t, err)
	for name, data := range map[string][]byte{
		"empty": {}, "cut short": whole[:len(whole)-1], "other": []byte("hello"), "longer": append(bytes.Clone(whole), 0),
		"header alone": []byte(fileHeader), "not records": []byte(fileHeader + "\x81\x01"),
	} {
		noErr(t, os.WriteFile(path, data, 0o600))
		d, err := Open(path, n.v)
		if err == nil || len(d.Records()) != 0 {
			t.Errorf("%s: %d records, %v", name, len(d.Records()), err)
		}
		merge(t, d, true, a.record(1))
		if again, err := Open(path, n.v); err != nil || len(again.Records()) != 1 {
			t.Errorf("%s: not mended: %v", name, err)
		}
	}
	for at := len(fileHeader); at < len(whole); at++ {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x10
		noErr(t, os.WriteFile(path, bad, 0o600))
		if d, err := Open(path, n.v); err == nil || len(d.Records()) > 1 {
			t.Fatalf("byte %d: %d records, %v", at, len(d.Records()), err)
		}
	}
}

// What cannot be written is kept in memory and written when it can be.
func TestUnwritableFile(t *testing.T) {
	n := newNetwork(t)
	dir := filepath.Join(t.TempDir(), "absent")
	path := filepath.Join(dir, "members")
	d, err := Open(path, n.v)
	noErr(t, err)
	changed, err := d.Merge([]Record{n.node("a").record(1)})
	wantErr(t, err, os.ErrNotExist)
	if !changed || len(d.Members()) != 1 {
		t.Errorf("changed %v, %d members", changed, len(d.Members()))
	}
	noErr(t, os.Mkdir(dir, 0o700))
	merge(t, d, false)
	if again, err := Open(path, n.v); err != nil || state(again) != state(d) {
		t.Errorf("not written later: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	noErr(t, err)
	hidden, err := filepath.Glob(filepath.Join(dir, ".*"))
	noErr(t, err)
	if len(left) != 1 || len(hidden) != 0 {
		t.Errorf("left behind: %q %q", left, hidden)
	}
}

// Everything may be called at once; the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	n := newNetwork(t)
	d, path := n.open()
	me := n.node("me")
	credential := me.credential(nil)
	var others [4][]Record
	for i := range others {
		for v := range uint64(3) {
			others[i] = append(others[i], n.node(fmt.Sprintf("node-%d-%d", i, v)).record(v+1))
		}
	}
	var wg sync.WaitGroup
	for i, records := range others {
		wg.Go(func() {
			for _, r := range records {
				if _, err := d.Merge([]Record{r}); err != nil {
					t.Error(err)
				}
				if err := d.SetSelf(me.PrivateKey, credential, identity.Announcement{OS: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
				if _, err := d.Prune(); err != nil {
					t.Error(err)
				}
				_, _, _, _ = d.Members(), d.Lapsed(), d.Records(), d.Changed()
			}
		})
	}
	wg.Wait()
	if got := len(d.Members()); got != 13 {
		t.Errorf("%d members", got)
	}
	if again, err := Open(path, n.v); err != nil || state(again) != state(d) {
		t.Errorf("the file says something else: %v", err)
	}
}
