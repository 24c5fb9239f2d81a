package members

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

// t0 is the present of the tests.
var t0 = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// network is a network of the tests, and what one machine needs to judge it.
type network struct {
	t            testing.TB
	root, issuer identity.PrivateKey
	id           identity.NetworkID
	delegation   []byte
	now          time.Time
	v            *identity.Verifier
	serial       uint64
}

func newNetwork(t testing.TB) *network {
	n := &network{t: t, root: identity.GenerateKey(), issuer: identity.GenerateKey(), now: t0}
	n.id = identity.NetworkOf(n.root.Public())
	var err error
	n.delegation, err = identity.Sign(n.root, identity.Delegation{
		Network: n.id, Root: n.root.Public(), Issuer: n.issuer.Public(), Caps: identity.Caps{API: identity.Admin, Node: identity.Server},
		MaxValidity: 30 * day, FirstSerial: 1, Count: 1 << 20, NotBefore: t0.Add(-day), NotAfter: t0.Add(365 * day),
	})
	noErr(t, err)
	n.v = n.verifier()
	return n
}

// verifier is that of another machine, with the same clock.
func (n *network) verifier() *identity.Verifier {
	dir := n.t.TempDir()
	clock, err := identity.OpenClock(filepath.Join(dir, "clock"), t0.Add(-100*day), func() time.Time { return n.now })
	noErr(n.t, err)
	v, err := identity.CreateVerifier(filepath.Join(dir, "trust"), n.id, identity.NetworkID{}, clock)
	noErr(n.t, err)
	return v
}

func (n *network) open() (d *Directory, path string) {
	path = filepath.Join(n.t.TempDir(), "members")
	d, err := Open(path, n.v)
	noErr(n.t, err)
	return d, path
}

// node is a member with its own key.
type node struct {
	identity.PrivateKey
	n    *network
	name string
}

func (n *network) node(name string) node { return node{identity.GenerateKey(), n, name} }

func (m node) certificate() identity.Certificate {
	m.n.serial++
	return identity.Certificate{
		Network: m.n.id, Issuer: m.n.issuer.Public(), Serial: m.n.serial, Key: m.Public(), Mesh: m.Derive("mesh"), Name: m.name,
		Caps: identity.Caps{Node: identity.Agent}, NotBefore: t0, NotAfter: t0.Add(10 * day),
	}
}

// credential is that of the node's certificate, changed.
func (m node) credential(change func(*identity.Certificate)) []byte {
	m.n.t.Helper()
	c := m.certificate()
	if change != nil {
		change(&c)
	}
	data, err := identity.Sign(m.n.issuer, c)
	noErr(m.n.t, err)
	credential, err := m.n.v.NewCredential(m.n.delegation, data)
	noErr(m.n.t, err)
	return credential
}

func (m node) announcement(version uint64) []byte {
	data, err := identity.Sign(m.PrivateKey, identity.Announcement{
		Network: m.n.id, Key: m.Public(), Version: version, Serving: true, OS: "test",
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(version)})},
	})
	noErr(m.n.t, err)
	return data
}

func (m node) record(version uint64) Record {
	return Record{m.credential(nil), m.announcement(version)}
}

func (n *network) revoke(keys ...identity.PublicKey) {
	data, err := identity.Sign(n.issuer, identity.Revocation{
		Network: n.id, Signer: n.issuer.Public(), Version: 1, Issued: t0, Keys: keys, Delegation: n.delegation,
	})
	noErr(n.t, err)
	noErr(n.t, n.v.AddRevocation(data))
}

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// merge is Merge of records that are all good.
func merge(t testing.TB, d *Directory, wantChange bool, records ...Record) {
	t.Helper()
	changed, err := d.Merge(records)
	noErr(t, err)
	if changed != wantChange {
		t.Errorf("changed is %v, want %v", changed, wantChange)
	}
}

// state is all that d knows, for comparing.
func state(d *Directory) string {
	var out strings.Builder
	for _, r := range d.Records() {
		h := r.hash()
		out.Write(h[:])
	}
	return out.String()
}

func names(ms []Member) string {
	var out []string
	for _, m := range ms {
		out = append(out, m.Name)
	}
	return strings.Join(out, " ")
}

// fired says whether the channel from Changed is closed.
func fired(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
