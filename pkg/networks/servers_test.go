package networks

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

// inForce checks that a delegation for key counts in n.
func inForce(t *testing.T, n *Network, key identity.PrivateKey, delegation []byte) *identity.Issuer {
	t.Helper()
	i, err := identity.CreateIssuer(t.TempDir()+"/ledger", key, delegation, n.Verifier)
	noErr(t, err)
	return i
}

func TestServersIssuer(t *testing.T) {
	s, id := newStore(t)
	noErr(t, s.Create(t.Context(), "home", CreateOptions{Quota: 10, Operator: "ann"}))
	n := open(t, s, "home")
	key, delegation, err := n.ServersIssuer()
	noErr(t, err)
	d, gone := n.ServersDelegation()
	if d.FirstSerial != 11 || d.Count != 10 || d.Issuer != key.Public() || gone {
		t.Errorf("delegated are %d from %d, handed over: %v", d.Count, d.FirstSerial, gone)
	}
	// It lets machines in, and no people.
	i := inForce(t, n, key, delegation)
	_, err = i.Invite(identity.Caps{Node: identity.Server}, 2, time.Hour)
	noErr(t, err)
	if _, err := i.Certify(identity.GenerateKey().Public(), "eve", identity.Caps{API: identity.Reader}); !errors.Is(err, identity.ErrDelegation) {
		t.Errorf("the servers' issuer certified a person: %v", err)
	}
	if err := n.Revoke(key.Public(), 0); err == nil {
		t.Error("the servers' issuer was revoked as a member")
	}

	noErr(t, n.MarkHandedOver())
	n.Close()
	n = open(t, s, "home")
	if _, _, err := n.ServersIssuer(); !errors.Is(err, ErrHandedOver) {
		t.Errorf("it was handed out twice: %v", err)
	}
	if d, gone := n.ServersDelegation(); d == nil || d.Issuer != key.Public() || !gone {
		t.Errorf("handed over is %+v, %v", d, gone)
	}

	// Whatever is delegated next has serial numbers of its own.
	root, err := n.Unlock("")
	noErr(t, err)
	noErr(t, n.Delegate(root, 5))
	noErr(t, n.DelegateServers(root, 7))
	noErr(t, n.Delegate(root, 3))
	next, delegation, err := n.ServersIssuer()
	noErr(t, err)
	inForce(t, n, next, delegation)
	d, _ = n.ServersDelegation()
	if l := n.Delegation(); l.FirstSerial != 33 || l.Count != 3 || d.FirstSerial != 26 || d.Count != 7 || next.Public() == key.Public() {
		t.Errorf("the issuer here has %d from %d, the servers' %d from %d", l.Count, l.FirstSerial, d.Count, d.FirstSerial)
	}

	// What is not handed over yet follows a new root key.
	noErr(t, n.Rotate(root, time.Hour, id.Recipient()))
	last, delegation, err := n.ServersIssuer()
	noErr(t, err)
	inForce(t, n, last, delegation)
	if d, _ := n.ServersDelegation(); d.Root == root.Public() || d.Count != 7 {
		t.Errorf("the servers' issuer is delegated to by %s", d.Root)
	}
	n.Close()
	open(t, s, "home").Close()
}

// A network whose root key has an owner keeps it to him.
func TestUnlockNeedsTheOwner(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	n := open(t, s, "home")
	defer n.Close()
	if _, err := n.Unlock(""); !errors.Is(err, identity.ErrLocked) {
		t.Errorf("unlocked: %v", err)
	}
	_, err := n.Unlock("", id)
	noErr(t, err)
}

// A network from before there was a servers' issuer, and one that was handed over.
func TestWithoutServersIssuer(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	n := open(t, s, "home")
	access, err := n.Grant("bob", identity.Admin, id.Recipient())
	noErr(t, err)
	noErr(t, errors.Join(os.Remove(n.path(serversFile)), os.Remove(n.path(serversPermFile))))
	n.Close()
	bob := &Store{Dir: t.TempDir()}
	_, err = bob.Import(t.Context(), "", access, id)
	noErr(t, err)
	for _, store := range []*Store{s, bob} {
		n := open(t, store, "home")
		if _, _, err := n.ServersIssuer(); !errors.Is(err, ErrNoIssuer) {
			t.Errorf("issuer: %v", err)
		}
		n.Close()
	}
	n = open(t, s, "home")
	defer n.Close()
	root, err := n.Unlock("", id)
	noErr(t, err)
	noErr(t, n.DelegateServers(root, 0))
	_, _, err = n.ServersIssuer()
	noErr(t, err)
}
