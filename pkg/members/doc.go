// Package members is the directory of a network's nodes, as one of them knows
// it: for each its credential (who it is and what it may be, by the issuer) and
// its announcement (where it is, by itself).
//
//	d, err := members.Open("/state/mycelium/members", verifier) // d is usable whatever err says
//	err = d.SetSelf(key, credential, identity.Announcement{Addresses: addresses})
//	for {
//		changed := d.Changed()
//		connect(d.Members())
//		select {
//		case theirs := <-received: // from a member, over TLS
//			_, err = d.Merge(theirs)
//			reply(d.Records())
//		case <-changed:
//		}
//	}
//
// Merge takes of each node the credential that ends last and the announcement
// with the highest version, so that nodes which have heard the same records, in
// any order and from anybody, know the same: every record is verified by its
// signatures and not by who brought it. Nodes that exchange their records with
// random others therefore agree after a few rounds.
//
// There are two exceptions, in which what was known first stays and the rest is
// reported (ErrConflict, ErrFull): a mesh address or mesh key belongs to one
// node, because one with the same address can be made within seconds, and a
// directory holds MaxMembers nodes.
//
// Everything but the node's own announcement can be learned again, and that can
// be made again: losing the file costs nothing but an exchange with another node.
package members
