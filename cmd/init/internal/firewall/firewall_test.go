package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/digital-mycelium/os/rootfs/nft"
)

// programVariable tells the test within a network namespace where nft is.
const programVariable = "FIREWALL_TEST_NFT"

var rules = Rules{Mesh: meshName, Bridge: bridgeName}

// TestRules puts the rules in force with the nft of the root, in network
// namespaces.
func TestRules(t *testing.T) {
	if program := os.Getenv(programVariable); program != "" {
		testRules(t, program)
		return
	}
	c, err := nft.Build(t.Context(), "../../../..", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRules$", "-test.v")
	cmd.Env = append(os.Environ(), programVariable+"="+c.File)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in a network namespace (needs root or user namespaces, and nf_tables in the kernel): %v\n%s", err, out)
	}
}

// attempt is a TCP connection and whether, and from which address, it arrives.
type attempt struct {
	what          string
	ns            int
	from, to      string
	before, after string
}

func testRules(t *testing.T, program string) {
	l := newLab(t)
	nft := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("nft %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	kubeProxy(t, program)
	others := nft("list", "ruleset")
	for _, port := range []int{6440, 6443, 6444, 10247, 10248, 10250, 10260, 10261, 2378, 2379, 2382, 2383, 30080, 32767} {
		l.serve(0, fmt.Sprintf(":%d", port))
	}
	l.serve(l.outside, "192.0.2.2:80", "10.42.9.9:80")
	l.serve(l.member, "100.64.0.2:80", "10.42.1.5:80")
	l.serve(l.pod, "10.42.0.5:80")

	attempts := attempts(l)
	for _, a := range attempts {
		if got := l.call(a.ns, a.from, a.to, a.before); got != a.before {
			t.Errorf("without rules, %s, %s: seen as %q, want %q", a.what, a.to, got, a.before)
		}
	}
	stray(t, l, false)
	// Three times: rules replace themselves.
	for range 3 {
		if err := rules.apply(t.Context(), program, (*exec.Cmd).CombinedOutput); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range attempts {
		if got := l.call(a.ns, a.from, a.to, a.after); got != a.after {
			t.Errorf("%s, %s: seen as %q, want %q", a.what, a.to, got, a.after)
		}
	}
	stray(t, l, true)

	own := nft("list", "table", "inet", "mycelium")
	if n := strings.Count(own, "masquerade\n"); n != 1 {
		t.Errorf("%d rules that masquerade:\n%s", n, own)
	}
	// What cannot be put in force changes nothing.
	if err := (Rules{Mesh: "a name that is too long", Bridge: bridgeName}).apply(t.Context(), program, (*exec.Cmd).CombinedOutput); err == nil {
		t.Error("an impossible interface: no error")
	}
	if now := nft("list", "table", "inet", "mycelium"); now != own {
		t.Errorf("after rules that failed:\n%s\nbefore:\n%s", now, own)
	}
	nft("delete", "table", "inet", "mycelium")
	if left := nft("list", "ruleset"); left != others {
		t.Errorf("kube-proxy's rules were\n%s\nand are\n%s", others, left)
	}
}

func attempts(l *lab) []attempt {
	var all []attempt
	add := func(what string, ns int, from string, before, after string, to ...string) {
		for _, to := range to {
			all = append(all, attempt{what, ns, from, to, before, after})
		}
	}
	node := func(host string, ports ...int) (to []string) {
		for _, p := range ports {
			to = append(to, net.JoinHostPort(host, fmt.Sprint(p)))
		}
		return to
	}
	const out4, out6 = "192.0.2.2", "2001:db8::2"
	add("a closed port", l.outside, "", out4, "", node("192.0.2.1", 6443, 6444, 10248, 10250, 10260, 2379, 2382)...)
	add("a closed port", l.outside, "", out6, "", node("2001:db8::1", 6443, 10250, 2379)...)
	add("an open port", l.outside, "", out4, out4, node("192.0.2.1", 6440, 10247, 10261, 2378, 2383, 30080, 32767)...)
	add("an open port", l.outside, "", out6, out6, node("2001:db8::1", 6440, 30080)...)
	add("the node itself", 0, "", "127.0.0.1", "127.0.0.1", node("127.0.0.1", 6443, 10250)...)
	add("the node itself", 0, "", "192.0.2.1", "192.0.2.1", node("192.0.2.1", 6443)...)
	add("the node itself", 0, "", "100.64.0.1", "100.64.0.1", node("100.64.0.1", 2379)...)
	add("the node itself", 0, "", "::1", "::1", node("::1", 6443)...)
	add("a member", l.member, "", "100.64.0.2", "100.64.0.2", node("100.64.0.1", 6443, 10250, 2379, 6440)...)
	add("a member's pod", l.member, "10.42.1.5", "10.42.1.5", "10.42.1.5", node("100.64.0.1", 6443)...)
	add("a member's pod to a pod", l.member, "10.42.1.5", "10.42.1.5", "10.42.1.5", "10.42.0.5:80")
	add("a pod", l.pod, "", "10.42.0.5", "10.42.0.5", append(node("10.42.0.1", 6443, 10250), node("100.64.0.1", 6443)...)...)
	add("a pod through a service", l.pod, "", "10.42.0.5", "10.42.0.5", "10.43.0.1:443")
	// Services of kube-proxy's: a node port stays open unless it leads to a closed port.
	add("a node port", l.outside, "", "10.42.0.1", "10.42.0.1", "192.0.2.1:30081")
	add("a node port to a closed port", l.outside, "", out4, "", "192.0.2.1:30443")
	add("a service, from outside", l.outside, "", out4, "", "10.43.0.1:443")
	// The cluster's addresses, from outside and the other way round.
	add("the mesh address, from outside", l.outside, "", out4, "", node("100.64.0.1", 6440)...)
	add("a pod, from outside", l.outside, "", out4, "", "10.42.0.5:80")
	add("a pod to a node that is not connected", l.pod, "", "10.42.0.5", "", "10.42.9.9:80")
	// Masquerading: before, the answer finds its way by the route that outside has.
	add("a pod to the world", l.pod, "", "10.42.0.5", "192.0.2.1", "192.0.2.2:80")
	add("a pod to a member", l.pod, "", "10.42.0.5", "10.42.0.5", "100.64.0.2:80")
	add("a pod to a member's pod", l.pod, "", "10.42.0.5", "10.42.0.5", "10.42.1.5:80")
	add("the node to the world", 0, "", "192.0.2.1", "192.0.2.1", "192.0.2.2:80")
	return all
}

// datagram is one that must not arrive, and what its receiver sees if it does.
type datagram struct {
	ns       int
	from, to string
	seen     string
}

// stray sends datagrams whose source is not their sender's and such as are meant
// for a member that is not connected; after each bunch one in good order, which
// alone arrives when the rules are in force.
func stray(t *testing.T, l *lab, rules bool) {
	t.Helper()
	for _, s := range []struct {
		receiver int
		at       string
		bad      []datagram
		good     datagram
	}{
		{0, "192.0.2.1", []datagram{
			{l.outside, "100.64.0.9", "192.0.2.1", "100.64.0.9 to 192.0.2.1"},
			{l.outside, "10.42.9.9", "192.0.2.1", "10.42.9.9 to 192.0.2.1"},
			{l.outside, "10.43.0.9", "192.0.2.1", "10.43.0.9 to 192.0.2.1"},
		}, datagram{l.outside, "192.0.2.2", "192.0.2.1", "192.0.2.2 to 192.0.2.1"}},
		{0, "10.42.0.1", []datagram{
			{l.pod, "100.64.0.9", "10.42.0.1", "100.64.0.9 to 10.42.0.1"},
		}, datagram{l.pod, "10.42.0.5", "10.42.0.1", "10.42.0.5 to 10.42.0.1"}},
		{l.outside, "0.0.0.0", []datagram{
			{l.pod, "", "10.42.9.9", "10.42.0.5 to 10.42.9.9"},
			{0, "", "10.42.9.9", "192.0.2.1 to 10.42.9.9"},
		}, datagram{0, "", "192.0.2.2", "192.0.2.1 to 192.0.2.2"}},
	} {
		d := l.datagrams(s.receiver, s.at+":9000")
		var want []string
		for _, b := range s.bad {
			l.send(b.ns, b.from, b.to)
			if !rules {
				want = append(want, b.seen)
			}
		}
		l.send(s.good.ns, s.good.from, s.good.to)
		for _, w := range append(want, s.good.seen) {
			if got := l.next(d); got != w {
				t.Errorf("with rules %v: a datagram from %s, want one from %s", rules, got, w)
			}
		}
		l.must(d.Close())
	}
}

// kubeProxy makes a table as kube-proxy does, with services of a pod's and of
// the API server's.
func kubeProxy(t *testing.T, program string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "-f", "-")
	cmd.Stdin = strings.NewReader(`table ip kube-proxy {
	chain nat-prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 10.43.0.1 tcp dport 443 dnat to 100.64.0.1:6443
		fib daddr type local tcp dport 30081 mark set mark or 0x4000 dnat to 10.42.0.5:80
		fib daddr type local tcp dport 30443 dnat to 100.64.0.1:6443
	}
	chain nat-postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		mark and 0x4000 != 0 masquerade fully-random
	}
}
`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kube-proxy's rules: %v\n%s", err, out)
	}
}

func TestApplySaysWhatNftSays(t *testing.T) {
	failed := errors.New("exit status 1")
	err := rules.Apply(t.Context(), func(cmd *exec.Cmd) ([]byte, error) {
		if strings.Join(cmd.Args, " ") != "/bin/nft -f -" {
			t.Errorf("ran %q", cmd.Args)
		}
		return []byte("Error: no space\n"), failed
	})
	if !errors.Is(err, failed) || !strings.Contains(err.Error(), "no space") {
		t.Error(err)
	}
}

func TestConflict(t *testing.T) {
	for network, want := range map[string]string{
		"192.168.1.0/24": "", "10.0.0.0/8": "10.42.0.0/16", "10.42.7.0/24": "10.42.0.0/16", "10.43.0.0/16": "10.43.0.0/16",
		"100.100.0.0/16": "100.64.0.0/10", "100.0.0.0/10": "", "fd00::/8": "",
	} {
		got, is := Conflict(netip.MustParsePrefix(network))
		if is != (want != "") || is && got.String() != want {
			t.Errorf("%s: %s, %v, want %q", network, got, is, want)
		}
	}
}
