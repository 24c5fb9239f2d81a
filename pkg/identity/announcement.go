package identity

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

const (
	// MaxAddresses bounds the addresses in an Announcement.
	MaxAddresses = 16

	maxOS = 64 // bytes of Announcement.OS
)

// Announcement is what a node says of itself to the other members. It gives no
// right: what a node may be, its Certificate says.
type Announcement struct {
	_       struct{} `cbor:",toarray"`
	Network NetworkID
	Key     PublicKey // signs
	Version uint64    // from 1; a higher one replaces the node's earlier ones
	// Addresses are those at which other machines may reach the node, as
	// CanonicalAddresses returns them.
	Addresses []netip.Addr
	Issuer    bool   // admits newcomers
	Serving   bool   // runs a Kubernetes server that others can join through
	OS        string // what the node runs, in its own words: at most 64 of printable ASCII
}

func (*Announcement) kind() kind          { return kindAnnouncement }
func (a *Announcement) signer() PublicKey { return a.Key }

func (a *Announcement) check() error {
	if a.Version < 1 {
		return errors.New("version 0")
	}
	if len(a.Addresses) > MaxAddresses {
		return fmt.Errorf("%d addresses, at most %d are allowed", len(a.Addresses), MaxAddresses)
	}
	for _, addr := range a.Addresses {
		if !announceable(addr) {
			return fmt.Errorf("address %s: nobody else can reach it, or it is of the mesh itself", addr)
		}
	}
	if !ascending(a.Addresses, netip.Addr.Compare) {
		return errors.New("the addresses are not in ascending order")
	}
	if len(a.OS) > maxOS {
		return fmt.Errorf("OS of %d bytes, at most %d are allowed", len(a.OS), maxOS)
	}
	for i := range len(a.OS) {
		if a.OS[i] < ' ' || a.OS[i] > '~' {
			return fmt.Errorf("OS %q: only printable ASCII is allowed", a.OS)
		}
	}
	return nil
}

// CanonicalAddresses returns those of addrs that an Announcement may name, in
// its order: at most MaxAddresses, IPv4 first. It leaves out addresses that mean
// nothing on another machine (loopback, multicast, IPv6 link-local, the mesh's).
func CanonicalAddresses(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); announceable(a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	out = slices.Compact(out)
	return out[:min(len(out), MaxAddresses)]
}

// announceable says whether a means the same node to others. An IPv4 link-local
// address does where there is no DHCP; an IPv6 one needs the listener's own zone.
func announceable(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && !MeshPrefix.Contains(a) &&
		(a.IsGlobalUnicast() || a.Is4() && a.IsLinkLocalUnicast())
}
