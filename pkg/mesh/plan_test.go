package mesh

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
)

// fake is the kernel's side of a device, in memory.
type fake struct {
	state
	writes []changes
	closed bool
	err    error // of read and write
}

func (f *fake) read() (state, error) { return f.clone(), f.err }
func (f *fake) close() error         { f.closed = true; return nil }

// clone shares nothing with f.
func (f *fake) clone() state {
	s := f.state
	s.peers = map[Key]kernelPeer{}
	for k, p := range f.peers {
		p.allowed = slices.Clone(p.allowed)
		s.peers[k] = p
	}
	s.routes = slices.Clone(f.routes)
	return s
}

// write does what the kernel does (drivers/net/wireguard/netlink.c), one peer
// after the other, and refuses what a right plan has no use for.
func (f *fake) write(c changes) error {
	if f.err != nil {
		return f.err
	}
	f.writes = append(f.writes, c)
	if f.peers == nil {
		f.peers = map[Key]kernelPeer{}
	}
	for _, pc := range c.peers {
		p, known := f.peers[pc.key]
		if known == pc.create {
			return fmt.Errorf("peer %s: known %v, to create %v", pc.key, known, pc.create)
		}
		if pc.remove {
			delete(f.peers, pc.key)
			continue
		}
		if pc.endpoint.IsValid() {
			p.endpoint = pc.endpoint
		}
		if pc.keepalive {
			p.keepalive = keepalive
		}
		if pc.replace {
			p.allowed = nil
		}
		for _, a := range pc.allowed { // a prefix has one peer
			for k, other := range f.peers {
				other.allowed = without(other.allowed, []netip.Prefix{a})
				f.peers[k] = other
			}
			p.allowed = append(without(p.allowed, []netip.Prefix{a}), a)
		}
		slices.SortFunc(p.allowed, comparePrefixes)
		f.peers[pc.key] = p
	}
	if len(without(c.oldRoutes, f.routes)) > 0 || len(without(c.newRoutes, f.routes)) != len(c.newRoutes) {
		return fmt.Errorf("routes %v: remove %v, add %v", f.routes, c.oldRoutes, c.newRoutes)
	}
	f.routes = append(without(f.routes, c.oldRoutes), c.newRoutes...)
	return nil
}

var (
	keyA, keyB = Key{1}, Key{2}
	prefixX    = netip.MustParsePrefix("100.64.0.1/32")
	prefixY    = netip.MustParsePrefix("10.42.1.0/24")
	prefixZ    = netip.MustParsePrefix("fd00::/64")
	somewhere  = netip.MustParseAddrPort("192.168.1.1:51820")
	elsewhere  = netip.MustParseAddrPort("192.168.1.2:51820")
)

// owners are all the ways in which each prefix belongs to A, to B or to nobody.
func owners() (out [][2][]netip.Prefix) {
	for i := range 27 {
		var o [2][]netip.Prefix
		n := i
		for _, p := range []netip.Prefix{prefixX, prefixY, prefixZ} {
			if who := n % 3; who < 2 {
				o[who] = append(o[who], p)
			}
			n /= 3
		}
		for _, ps := range o {
			slices.SortFunc(ps, comparePrefixes)
		}
		out = append(out, o)
	}
	return out
}

// possible says whether only those of A (bit 0) and B (bit 1) own something
// that are present.
func possible(o [2][]netip.Prefix, present int) bool {
	return (present&1 == 1 || len(o[0]) == 0) && (present&2 == 2 || len(o[1]) == 0)
}

// kernels are all states of two peers; targets all that they can be wanted to be.
func kernels() (out []state) {
	endpoints := []netip.AddrPort{{}, somewhere}
	for _, o := range owners() {
		for present := range 4 {
			if !possible(o, present) {
				continue
			}
			for _, e := range endpoints {
				for _, k := range []time.Duration{0, keepalive} {
					s := state{peers: map[Key]kernelPeer{}}
					for i, key := range []Key{keyA, keyB} {
						if present>>i&1 == 1 {
							s.peers[key] = kernelPeer{endpoint: e, allowed: o[i], keepalive: k, received: 5}
						}
					}
					for _, routes := range [][]netip.Prefix{nil, {prefixX}, {prefixY, prefixX}, {prefixZ}} {
						s.routes = routes
						out = append(out, s)
					}
				}
			}
		}
	}
	return out
}

func targets() (out []map[Key]target) {
	for _, o := range owners() {
		for present := range 4 {
			if !possible(o, present) {
				continue
			}
			for _, e := range []netip.AddrPort{{}, somewhere, elsewhere} {
				w := map[Key]target{}
				for i, key := range []Key{keyA, keyB} {
					if present>>i&1 == 1 {
						w[key] = target{e, o[i]}
					}
				}
				out = append(out, w)
			}
		}
	}
	return out
}

// right says what is wrong with the kernel's state got after a plan from have to want.
func right(have, got state, want map[Key]target) error {
	if len(got.peers) != len(want) {
		return fmt.Errorf("%d peers, want %d", len(got.peers), len(want))
	}
	var routes []netip.Prefix
	for k, w := range want {
		p, e := got.peers[k], w.endpoint
		if !e.IsValid() {
			e = have.peers[k].endpoint
		}
		if !slices.Equal(p.allowed, w.allowed) || p.endpoint != e || p.keepalive != keepalive || p.received != have.peers[k].received {
			return fmt.Errorf("peer %s is %+v, want %+v", k, p, w)
		}
		routes = append(routes, w.allowed...)
	}
	if len(routes) != len(got.routes) || len(without(routes, got.routes)) > 0 {
		return fmt.Errorf("routes %v, want %v", got.routes, routes)
	}
	return nil
}

// From every state to every other of two peers and three prefixes: the kernel
// becomes what is wanted, and peers that are so already are not touched.
func TestPlanFromEveryStateToEvery(t *testing.T) {
	count := 0
	for _, have := range kernels() {
		for _, want := range targets() {
			count++
			f := &fake{state: have}
			f.state = f.clone()
			c := plan(have, want)
			if err := f.write(c); err != nil {
				t.Fatalf("from %+v to %+v: %v", have, want, err)
			}
			if err := right(have, f.state, want); err != nil {
				t.Fatalf("from %+v to %+v by %+v: %v", have, want, c, err)
			}
			if again := plan(f.state, want); !again.empty() {
				t.Fatalf("from %+v to %+v: still to do: %+v", have, want, again)
			}
			for _, pc := range c.peers {
				p, known := have.peers[pc.key]
				w, wanted := want[pc.key]
				if known && wanted && p.keepalive == keepalive && slices.Equal(p.allowed, w.allowed) && (w.endpoint == p.endpoint || !w.endpoint.IsValid()) {
					t.Fatalf("from %+v to %+v: needless %+v", have, want, pc)
				}
				if pc.replace && len(without(p.allowed, w.allowed)) == 0 {
					t.Fatalf("from %+v to %+v: nothing to take away: %+v", have, want, pc)
				}
			}
		}
	}
	t.Logf("%d plans", count)
}

// The same with many peers that give prefixes to each other.
func TestPlanAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func() map[Key]target {
		w := map[Key]target{}
		for i := range byte(60) {
			if r.IntN(3) == 0 {
				w[Key{i}] = target{endpoint: []netip.AddrPort{{}, somewhere, elsewhere}[r.IntN(3)]}
			}
		}
		for i := range byte(80) {
			k := Key{byte(r.IntN(60))}
			if v, ok := w[k]; ok {
				v.allowed = append(v.allowed, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, i, 0}), 24))
				w[k] = v
			}
		}
		return w
	}
	f := &fake{}
	for range 300 {
		have, want := f.clone(), draw()
		if err := f.write(plan(have, want)); err != nil {
			t.Fatal(err)
		}
		if err := right(have, f.state, want); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPeersThatMakeNoSenseAreLeftOut(t *testing.T) {
	own := Key{9}
	good := Peer{Key: keyA, Allowed: []netip.Prefix{netip.MustParsePrefix("10.42.1.7/24"), prefixX, prefixY}}
	for name, c := range map[string]Peer{
		"no key":                {Allowed: []netip.Prefix{prefixZ}},
		"this machine":          {Key: own},
		"twice":                 {Key: keyA, Allowed: []netip.Prefix{prefixZ}},
		"another's prefix":      {Key: keyB, Allowed: []netip.Prefix{prefixZ, prefixX}},
		"no prefix":             {Key: keyB, Allowed: []netip.Prefix{{}}},
		"an IPv4 one as IPv6":   {Key: keyB, Allowed: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.1"), 128)}},
		"a prefix with no bits": {Key: keyB, Allowed: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 64)}},
	} {
		got, err := check([]Peer{good, c, {Key: Key{3}, Allowed: []netip.Prefix{prefixZ}}}, own)
		if err == nil || len(got) != 2 {
			t.Errorf("%s: %d peers, %v", name, len(got), err)
		}
		if a := got[keyA].Allowed; !slices.Equal(a, []netip.Prefix{prefixY, prefixX}) {
			t.Errorf("%s: %v", name, a)
		}
		if z := got[Key{3}].Allowed; !reflect.DeepEqual(z, []netip.Prefix{prefixZ}) {
			t.Errorf("%s: a peer that is left out keeps its prefix: %v", name, z)
		}
	}
}

func TestPublicKey(t *testing.T) {
	// RFC 7748, 6.1: Alice's keys
	private, err := hex.DecodeString("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
	noErr(t, err)
	if got := hex.EncodeToString(key(PublicKey([32]byte(private)))); got != "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a" {
		t.Error(got)
	}
}

func key(k Key) []byte { return k[:] }
