package proc

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
)

const rest = " S 1 42 42 0 -1 4194560 100 0 5 0 150 50 0 0 20 0 7 0 1234 1000000 256 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n"

func TestParseStat(t *testing.T) {
	booted := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	want := api.Process{
		PID: 42, Parent: 1, Name: "k3s", State: "S", Threads: 7, Resident: uint64(256 * os.Getpagesize()), CPU: 2,
		Started: booted.Add(12340 * time.Millisecond),
	}
	for _, name := range []string{"k3s", "", "a b", ") S 1 (", "x\n(y)", "((", "))"} {
		want.Name = name
		if got, err := parseStat("42 ("+name+")"+rest, booted); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", name, got, err, want)
		}
	}
	for _, bad := range []string{"", "42", "42 (x", "42 x)", ")42(", "42 (x) S 1", "x (x)" + rest, "42 (x)" + strings.Replace(rest, "150", "-150", 1), "42 (x)" + strings.Replace(rest, "256", "x", 1)} {
		if p, err := parseStat(bad, booted); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}

func TestParseCgroup(t *testing.T) {
	for in, want := range map[string]string{
		"0::/services/k3s\n": "/services/k3s", "": "", "1:name=x:/y\n0::/kubepods/pod 1\n": "/kubepods/pod 1", "12:cpu:/x\n": "",
	} {
		if got := parseCgroup(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	for path, content := range map[string]string{
		"1/stat": "1 (init)" + rest, "1/cgroup": "0::/init\n", "1/cmdline": "init\x00--password=x",
		"20/stat": "20 (kthreadd)" + rest, "9/stat": "9 (late)" + rest, "30/cgroup": "0::/ended\n", "self/stat": "no number", "uptime": "1",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := List(dir, time.Now())
	if err != nil || len(list) != 3 || list[0].Name != "init" || list[0].Cgroup != "/init" || list[1].PID != 9 || list[2].Name != "kthreadd" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := List(dir+"/none", time.Now()); err == nil {
		t.Error("a directory that does not exist")
	}
}

func TestListThisSystem(t *testing.T) {
	list, err := List("/proc", time.Now().Add(-time.Hour))
	i := slices.IndexFunc(list, func(p api.Process) bool { return p.PID == os.Getpid() })
	if err != nil || i < 0 || list[i].Parent != os.Getppid() || list[i].Resident == 0 || list[i].Threads == 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("42 (k3s)" + rest)
	f.Add("42 (a) b)" + rest)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseStat(s, time.Unix(1, 0))
		if err == nil && (p.PID < 0 || p.Threads < 0 || p.CPU < 0) {
			t.Errorf("%+v", p)
		}
	})
}
