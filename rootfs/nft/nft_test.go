package nft

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/knftables"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/rootfs/internal/static"
)

// programVariable tells the test within a network namespace where nft is.
const programVariable = "NFT_TEST_PROGRAM"

func TestBuildIsStatic(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		c, err := Build(t.Context(), "../..", arch)
		if err != nil {
			t.Fatal(err)
		}
		if err := static.Check(c.File, arch); err != nil {
			t.Error(err)
		}
	}
}

func TestBuildTwiceGivesTheSameBytes(t *testing.T) {
	lock, err := debian.Load(filepath.Join("../..", debian.LockPath))
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		tools, err := static.For(arch)
		if err != nil {
			t.Fatal(err)
		}
		b := &builder{arch: arch, tools: tools}
		if _, _, err := b.inputs(t.Context(), lock); err != nil {
			t.Fatal(err)
		}
		var sums [2]string
		for i := range sums {
			dir := t.TempDir()
			if err := b.build(t.Context(), dir); err != nil {
				t.Fatal(err)
			}
			if sums[i], err = cache.SumFile(filepath.Join(dir, "nft")); err != nil {
				t.Fatal(err)
			}
		}
		if sums[0] != sums[1] {
			t.Errorf("%s: two builds differ", arch)
		}
	}
}

// TestKnftables does what kube-proxy and the CNI plugins do, with the library
// that they use, in a network namespace of its own.
func TestKnftables(t *testing.T) {
	if program := os.Getenv(programVariable); program != "" {
		t.Setenv("PATH", filepath.Dir(program))
		testRules(t)
		testErrors(t)
		return
	}
	c, err := Build(t.Context(), "../..", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKnftables$", "-test.v")
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

// testRules writes the kinds of rules that kube-proxy writes and reads them back.
func testRules(t *testing.T) {
	for _, family := range []struct {
		family            knftables.Family
		ip, address, pods string
	}{
		{knftables.IPv4Family, "ip", "10.43.0.1", "10.42.0.5"},
		{knftables.IPv6Family, "ip6", "fd00::1", "fd00:1::5"},
	} {
		nft, err := knftables.New(family.family, "kube-proxy")
		if err != nil {
			t.Fatal(err)
		}
		tx := nft.NewTransaction()
		tx.Add(&knftables.Table{Comment: knftables.PtrTo("rules for kube-proxy")})
		addKubeProxyObjects(tx, family.ip, family.address, family.pods)
		if err := nft.Check(t.Context(), tx); err != nil {
			t.Fatalf("%s: check: %v", family.family, err)
		}
		if err := nft.Run(t.Context(), tx); err != nil {
			t.Fatalf("%s: run: %v", family.family, err)
		}
		readBack(t, nft, family.address)
	}
}

func addKubeProxyObjects(tx *knftables.Transaction, ip, address, pod string) {
	addr := map[string]string{"ip": "ipv4_addr", "ip6": "ipv6_addr"}[ip]
	endpoint := pod + " . 8080"
	tx.Add(&knftables.Chain{
		Name: "nat-prerouting", Type: knftables.PtrTo(knftables.NATType),
		Hook: knftables.PtrTo(knftables.PreroutingHook), Priority: knftables.PtrTo(knftables.DNATPriority),
	})
	tx.Add(&knftables.Chain{
		Name: "nat-postrouting", Type: knftables.PtrTo(knftables.NATType),
		Hook: knftables.PtrTo(knftables.PostroutingHook), Priority: knftables.PtrTo(knftables.SNATPriority),
	})
	tx.Add(&knftables.Chain{
		Name: "filter-input", Type: knftables.PtrTo(knftables.FilterType),
		Hook: knftables.PtrTo(knftables.InputHook), Priority: knftables.PtrTo(knftables.FilterPriority + "-1"),
	})
	for _, name := range []string{"services", "masquerading", "mark-for-masquerade", "reject-chain", "firewall-check", "service-ABC", "endpoint-XYZ"} {
		tx.Add(&knftables.Chain{Name: name, Comment: knftables.PtrTo("chain " + name)})
	}
	tx.Add(&knftables.Map{Name: "service-ips", Type: addr + " . inet_proto . inet_service : verdict"})
	tx.Add(&knftables.Map{Name: "service-nodeports", Type: "inet_proto . inet_service : verdict"})
	tx.Add(&knftables.Map{Name: "firewall-ips", Type: addr + " . inet_proto . inet_service : verdict"})
	tx.Add(&knftables.Set{Name: "nodeport-ips", Type: addr})
	tx.Add(&knftables.Set{Name: "hairpin", Type: addr + " . " + addr})
	tx.Add(&knftables.Set{Name: "sources", Type: addr, Flags: []knftables.SetFlag{knftables.IntervalFlag}})
	tx.Add(&knftables.Set{
		Name: "affinity-XYZ", Type: addr,
		Flags:   []knftables.SetFlag{knftables.DynamicFlag, knftables.TimeoutFlag},
		Timeout: knftables.PtrTo(3 * time.Hour),
	})
	rule := func(chain string, parts ...any) {
		tx.Add(&knftables.Rule{Chain: chain, Rule: knftables.Concat(parts...)})
	}
	rule("nat-prerouting", "jump services")
	rule("nat-postrouting", "jump masquerading")
	rule("filter-input", "ct state new jump firewall-check")
	rule("firewall-check", ip, "daddr . meta l4proto . th dport vmap @firewall-ips")
	rule("services", ip, "daddr . meta l4proto . th dport vmap @service-ips")
	rule("services", ip, "daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports")
	rule("services", "fib daddr type local", ip, "daddr !=", address, "meta l4proto . th dport vmap @service-nodeports")
	rule("masquerading", "mark and 0x4000 == 0 return")
	rule("masquerading", "mark set mark xor 0x4000")
	rule("masquerading", "masquerade fully-random")
	rule("mark-for-masquerade", "mark set mark or 0x4000")
	rule("reject-chain", "reject")
	rule("service-ABC", ip, "daddr", address, "tcp dport 443", ip, "saddr != @sources jump mark-for-masquerade")
	rule("service-ABC", ip, "saddr @affinity-XYZ goto endpoint-XYZ")
	rule("service-ABC", "numgen random mod 1 vmap { 0 : goto endpoint-XYZ }")
	rule("endpoint-XYZ", ip, "saddr", pod, "jump mark-for-masquerade")
	rule("endpoint-XYZ", "update @affinity-XYZ {", ip, "saddr }")
	rule("endpoint-XYZ", "meta l4proto tcp dnat to", strings.Replace(bracket(endpoint), " . ", ":", 1))
	tx.Add(&knftables.Element{Map: "service-ips", Key: []string{address, "tcp", "443"}, Value: []string{"goto service-ABC"}, Comment: knftables.PtrTo("default/kubernetes:https")})
	tx.Add(&knftables.Element{Map: "service-nodeports", Key: []string{"udp", "30053"}, Value: []string{"goto reject-chain"}})
	tx.Add(&knftables.Element{Set: "nodeport-ips", Key: []string{address}})
	tx.Add(&knftables.Element{Set: "hairpin", Key: []string{pod, pod}})
	tx.Add(&knftables.Element{Set: "sources", Key: []string{address + map[string]string{"ip": "/32", "ip6": "/128"}[ip]}})
}

// bracket puts an IPv6 address before a port in brackets.
func bracket(endpoint string) string {
	addr, port, _ := strings.Cut(endpoint, " . ")
	if strings.Contains(addr, ":") {
		addr = "[" + addr + "]"
	}
	return addr + " . " + port
}

func readBack(t *testing.T, nft knftables.Interface, address string) {
	t.Helper()
	ctx := t.Context()
	chains, err := nft.List(ctx, "chains")
	if err != nil || len(chains) != 10 {
		t.Errorf("list chains: %q, %v, want 10", chains, err)
	}
	rules, err := nft.ListRules(ctx, "endpoint-XYZ")
	if err != nil || len(rules) != 3 {
		t.Errorf("list rules: %d, %v, want 3", len(rules), err)
	}
	elements, err := nft.ListElements(ctx, "map", "service-ips")
	if err != nil || len(elements) != 1 {
		t.Fatalf("list elements: %d, %v, want 1", len(elements), err)
	}
	e := elements[0]
	if len(e.Key) != 3 || e.Key[0] != address || e.Key[1] != "tcp" || e.Key[2] != "443" ||
		len(e.Value) != 1 || e.Value[0] != "goto service-ABC" || e.Comment == nil {
		t.Errorf("element %+v is not what was written", e)
	}
	tx := nft.NewTransaction()
	tx.Flush(&knftables.Chain{Name: "endpoint-XYZ"})
	tx.Delete(&knftables.Element{Map: "service-ips", Key: e.Key})
	if err := nft.Run(ctx, tx); err != nil {
		t.Errorf("delete: %v", err)
	}
	if elements, err = nft.ListElements(ctx, "map", "service-ips"); err != nil || len(elements) != 0 {
		t.Errorf("after the deletion: %d elements, %v", len(elements), err)
	}
}

// testErrors checks the errors that kube-proxy tells apart.
func testErrors(t *testing.T) {
	nft, err := knftables.New(knftables.InetFamily, "absent")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nft.ListRules(t.Context(), "nothing"); !knftables.IsNotFound(err) {
		t.Errorf("list of an absent table: got %v, want not found", err)
	}
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Create(&knftables.Chain{Name: "c"})
	if err := nft.Run(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	tx = nft.NewTransaction()
	tx.Create(&knftables.Chain{Name: "c"})
	if err := nft.Run(t.Context(), tx); !knftables.IsAlreadyExists(err) {
		t.Errorf("second creation: got %v, want already exists", err)
	}
	tx = nft.NewTransaction()
	tx.Add(&knftables.Rule{Chain: "c", Rule: "no such words"})
	if err := nft.Run(t.Context(), tx); err == nil {
		t.Error("nonsense as a rule: no error")
	}
	cmd := exec.CommandContext(t.Context(), "nft", "list", "table", "inet", "nonesuch")
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("list of an absent table: got %v, want exit status 1", err)
	}
}
