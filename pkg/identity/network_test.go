package identity

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"
)

// t0 is the present of the tests.
var t0 = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// network is a network of the tests and one of its members' machines.
type network struct {
	t            testing.TB
	dir          string
	id           NetworkID
	root, issuer PrivateKey
	now          time.Time // what the machine's clock shows
	clock        *Clock
	v            *Verifier
}

func newNetwork(t testing.TB, label string) *network {
	n := &network{t: t, dir: t.TempDir(), root: testKey(label + " root"), issuer: testKey(label + " issuer"), now: t0}
	n.id = NetworkOf(n.root.Public())
	var err error
	n.clock, err = OpenClock(filepath.Join(n.dir, "clock"), t0.Add(-100*day), func() time.Time { return n.now })
	noErr(t, err)
	n.clock.run = func() time.Duration { return 0 } // time passes when a test says so
	n.v, err = CreateVerifier(filepath.Join(n.dir, "trust"), n.id, NetworkID{}, n.clock)
	noErr(t, err)
	return n
}

func (n *network) delegation() Delegation {
	return Delegation{
		Network: n.id, Root: n.root.Public(), Issuer: n.issuer.Public(), Caps: Caps{API: Operator, Node: Server},
		MaxValidity: 7 * day, FirstSerial: 100, Count: 50, NotBefore: t0.Add(-10 * day), NotAfter: t0.Add(90 * day),
	}
}

func (n *network) certificate(name string) Certificate {
	return Certificate{
		Network: n.id, Issuer: n.issuer.Public(), Serial: 100, Key: testKey(name).Public(), Mesh: [32]byte{1}, Name: name,
		Caps: Caps{API: Reader, Node: Agent}, NotBefore: t0.Add(-day), NotAfter: t0.Add(day),
	}
}

func (n *network) request(name string) Request {
	return Request{Network: n.id, Key: testKey(name).Public(), Mesh: [32]byte{1}, Name: name}
}

// credential joins the statements without judging them.
func (n *network) credential(d Delegation, c Certificate, rotations ...[]byte) []byte {
	n.t.Helper()
	return n.join(sign(n.t, n.root, d), sign(n.t, n.issuer, c), rotations...)
}

func (n *network) join(del, cert []byte, rotations ...[]byte) []byte {
	n.t.Helper()
	data, err := encoding.Marshal(credential{Rotations: rotations, Delegation: del, Certificate: cert})
	noErr(n.t, err)
	return data
}

// samples returns one signed statement of each kind.
func (n *network) samples() map[kind][]byte {
	d := n.delegation()
	invite := Invite{
		Network: n.id, Issuer: n.issuer.Public(), ID: 1 << 60, Issued: t0, Expires: t0.Add(day), Uses: 500,
		Caps: Caps{Node: Agent}, Anchor: n.id,
	}
	req := n.request("node-1")
	req.Invite = sign(n.t, n.issuer, invite)
	return map[kind][]byte{
		kindRotation: sign(n.t, n.root, Rotation{
			Network: n.id, Number: 1, Old: n.root.Public(), New: testKey("next").Public(), Issued: t0, OverlapUntil: t0.Add(30 * day),
		}),
		kindDelegation:  sign(n.t, n.root, d),
		kindCertificate: sign(n.t, n.issuer, n.certificate("node-1")),
		kindRevocation: sign(n.t, n.issuer, Revocation{
			Network: n.id, Signer: n.issuer.Public(), Version: 3, Issued: t0,
			Keys: []PublicKey{{1}, {2}}, Serials: []uint64{5, 700}, Delegation: sign(n.t, n.root, d),
		}),
		kindInvite:       sign(n.t, n.issuer, invite),
		kindRequest:      sign(n.t, testKey("node-1"), req),
		kindAnnouncement: sign(n.t, testKey("node-1"), n.announcement("node-1")),
		kindOSFile:       sign(n.t, testKey("dev"), n.osFile("dev")),
	}
}

func (n *network) osFile(developer string) OSFile {
	return OSFile{
		Network: n.id, Key: testKey(developer).Public(), Version: "1.2.3-rc.1+dirty", Board: "qemu-amd64",
		Digest: [32]byte{1, 2, 3}, Size: 34 << 20, Downgrade: true, NotAfter: t0.Add(day),
	}
}

func (n *network) announcement(name string) Announcement {
	return Announcement{
		Network: n.id, Key: testKey(name).Public(), Version: 7, Issuer: true, OS: "Digital Mycelium OS 0.1.0",
		Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.20"), netip.MustParseAddr("2001:db8::20")},
	}
}
