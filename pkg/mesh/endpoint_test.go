package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func endpoints(s ...string) (out []netip.AddrPort) {
	for _, e := range s {
		out = append(out, netip.MustParseAddrPort(e))
	}
	return out
}

func TestCandidates(t *testing.T) {
	s := state{
		own:  []netip.Addr{netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("100.64.0.9"), netip.MustParseAddr("2001:db8::5")},
		near: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("2001:db8::/64")},
	}
	inside := []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("10.42.3.0/24")}
	got := candidates(endpoints(
		"203.0.113.7:51820", "192.168.1.5:51820", "100.70.1.1:51820", "192.168.1.20:51820", "10.42.3.1:51820", "[2001:db8::5]:51820",
		"[::ffff:192.168.1.20]:51820", "[fe80::1]:51820", "[fe80::1%eth0]:51820", "127.0.0.1:51820", "0.0.0.0:51820", "224.0.0.1:51820",
		"192.168.1.21:0", "[2001:db8::20]:51820", "[2001:db9::20]:51820", "203.0.113.7:51820", "203.0.113.7:443", "169.254.1.1:51820",
	), s, inside)
	want := endpoints("192.168.1.20:51820", "[2001:db8::20]:51820", "203.0.113.7:51820", "[2001:db9::20]:51820", "203.0.113.7:443", "169.254.1.1:51820")
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := candidates([]netip.AddrPort{{}}, s, nil); got != nil {
		t.Errorf("%v", got)
	}
}

// What is tried when: each step is a look at the kernel at a time in seconds.
func TestChoose(t *testing.T) {
	from := endpoints("10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3")
	one, two, three, roamed := from[0], from[1], from[2], netip.MustParseAddrPort("203.0.113.7:9999")
	none := netip.AddrPort{}
	type step struct {
		at        int
		kernel    netip.AddrPort // none: what was chosen last
		handshake int            // 0 for none; by a clock of its own
		want      netip.AddrPort // none: the kernel's is left
	}
	for name, c := range map[string]struct {
		from  []netip.AddrPort
		steps []step
	}{
		"in turn, ten seconds each": {from, []step{
			{0, none, 0, one}, {1, none, 0, one}, {8, none, 0, one}, {10, none, 0, two}, {15, none, 0, two}, {20, none, 0, three}, {30, none, 0, one},
		}},
		"a look that comes early counts": {from, []step{{0, none, 0, one}, {9, none, 0, two}, {17, none, 0, two}, {18, none, 0, three}}},
		"nothing to choose from":         {nil, []step{{0, none, 0, none}, {10, roamed, 0, none}, {20, roamed, 7, none}, {500, roamed, 7, none}}},
		"the only one stays":             {from[:1], []step{{0, none, 0, one}, {10, none, 0, one}, {20, none, 0, one}}},
		"what works stays":               {from, []step{{0, none, 0, one}, {10, none, 100, none}, {100, none, 100, none}, {189, none, 100, none}, {190, none, 100, two}}},
		"each handshake counts anew":     {from, []step{{0, two, 100, none}, {170, none, 200, none}, {340, none, 300, none}, {519, none, 300, none}, {521, two, 300, two}, {531, none, 300, three}}},
		"a clock that was set back":      {from, []step{{0, one, 9000, none}, {170, one, 100, none}, {340, one, 100, none}, {350, one, 100, one}, {360, one, 100, two}}},
		"a peer that moved is followed":  {from, []step{{0, none, 0, one}, {5, roamed, 100, none}, {184, roamed, 100, none}, {185, roamed, 100, one}}},
		"the kernel's own is tried":      {from, []step{{0, three, 0, three}, {5, none, 0, three}, {10, none, 0, one}}},
		"one that is none any more":      {from, []step{{0, roamed, 0, one}}},
		"a handshake without endpoint":   {from, []step{{0, none, 50, one}}},
	} {
		t.Run(name, func(t *testing.T) {
			var a attempt
			last := none
			start := time.Unix(1_000_000, 0)
			for _, s := range c.steps {
				p := kernelPeer{endpoint: last}
				if s.kernel != none {
					p.endpoint = s.kernel
				}
				if s.handshake != 0 {
					p.handshake = time.Unix(int64(s.handshake), 0)
				}
				got := a.choose(start.Add(time.Duration(s.at)*time.Second), func() []netip.AddrPort { return c.from }, p)
				if got != s.want {
					t.Fatalf("at %d s: %v, want %v", s.at, got, s.want)
				}
				if last = p.endpoint; got != none {
					last = got
				}
			}
		})
	}
}

// FuzzCandidates: whatever peers announce, what is left can be sent to from here.
func FuzzCandidates(f *testing.F) {
	f.Add("192.168.1.20:51820", "[fe80::1%eth0]:1")
	f.Add("[::%0]:1", "")
	f.Add("[::ffff:192.168.1.5]:51820", "100.64.0.1:51820")
	own := netip.MustParseAddr("192.168.1.5")
	mesh := netip.MustParsePrefix("100.64.0.0/10")
	s := state{own: []netip.Addr{own}, near: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}}
	f.Fuzz(func(t *testing.T, a, b string) {
		var in []netip.AddrPort
		for _, e := range []string{a, b, a} {
			if p, err := netip.ParseAddrPort(e); err == nil {
				in = append(in, p)
			}
		}
		seen := map[netip.AddrPort]bool{}
		for _, e := range candidates(in, s, []netip.Prefix{mesh}) {
			if e.Port() == 0 || e.Addr() == own || mesh.Contains(e.Addr()) || e.Addr().Is4In6() || e.Addr().Zone() != "" || e.Addr().IsMulticast() || e.Addr().IsLoopback() || seen[e] {
				t.Error(fmt.Sprint(e))
			}
			seen[e] = true
		}
	})
}
