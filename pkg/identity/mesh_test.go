package identity

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"
)

func TestMeshAddress(t *testing.T) {
	// Members find each other by it: it must never change.
	for label, want := range map[string]string{"a": "100.125.9.59", "node-1": "100.79.13.71"} {
		if got := MeshAddress(testKey(label).Public()).String(); got != want {
			t.Errorf("%s: %s, want %s", label, got, want)
		}
	}
	first, last := netip.MustParseAddr("100.64.0.0"), netip.MustParseAddr("100.127.255.255")
	seen := map[netip.Addr]bool{}
	var key PublicKey
	for i := range uint32(20_000) {
		binary.BigEndian.PutUint32(key[:], i)
		a := MeshAddress(key)
		if !MeshPrefix.Contains(a) || a == first || a == last {
			t.Fatalf("%x: %s", key, a)
		}
		seen[a] = true
	}
	if len(seen) < 19_900 { // 47.7 pairs are expected to meet
		t.Errorf("20000 keys have %d addresses", len(seen))
	}
}

func TestDerive(t *testing.T) {
	k := testKey("a")
	one := k.Derive("one")
	if got := hex.EncodeToString(one[:]); got != "333e43428fd14845928dbbe189ec7eeddd65e03db5fb0f555b7a6eff9c322f34" {
		t.Errorf("derived %s", got)
	}
	if k.Derive("one") != one || k.Derive("two") == one || testKey("b").Derive("one") == one {
		t.Error("not a function of key and label alone, or not of both")
	}
	defer func() {
		if recover() == nil {
			t.Error("a secret was derived from no key")
		}
	}()
	PrivateKey{}.Derive("one")
}

func TestCanonicalAddresses(t *testing.T) {
	var in []netip.Addr
	for _, s := range []string{
		"fe80::1", "2001:db8::2", "192.168.1.2", "127.0.0.1", "::1", "10.0.0.1", "224.0.0.1", "0.0.0.0", "::", "ff02::1",
		"::ffff:10.0.0.1", "169.254.3.4", "fe80::1%eth0", "100.64.3.4", "255.255.255.255", "fd00::1",
	} {
		in = append(in, netip.MustParseAddr(s))
	}
	in = append(in, netip.Addr{})
	var got []string
	for _, a := range CanonicalAddresses(in) {
		got = append(got, a.String())
	}
	if want := []string{"10.0.0.1", "169.254.3.4", "192.168.1.2", "2001:db8::2", "fd00::1"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for i := range byte(40) {
		in = append(in, netip.AddrFrom4([4]byte{10, 1, 0, 40 - i}))
	}
	n := newNetwork(t, "a")
	a := n.announcement("node-1")
	a.Addresses = CanonicalAddresses(in)
	if len(a.Addresses) != MaxAddresses {
		t.Errorf("%d addresses", len(a.Addresses))
	}
	if _, err := Parse[Announcement](sign(t, testKey("node-1"), a)); err != nil {
		t.Error(err)
	}
}
