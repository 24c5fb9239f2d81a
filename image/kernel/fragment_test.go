package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMergeLaterWins(t *testing.T) {
	a := mustParse(t, "a", "CONFIG_SMP=y\nCONFIG_NR_CPUS=64\n# CONFIG_MODULES is not set\n")
	b := mustParse(t, "b", "# a comment\n\nCONFIG_SMP=n\nCONFIG_LSM=\"landlock,yama\"\n")
	want := "CONFIG_LSM=\"landlock,yama\"\nCONFIG_MODULES=n\nCONFIG_NR_CPUS=64\nCONFIG_SMP=n\n"
	if got := merge([]fragment{a, b}).text(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func mustParse(t *testing.T, name, text string) fragment {
	t.Helper()
	f, err := parseFragment(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParseFragmentRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"twice":      "CONFIG_A=y\nCONFIG_A=y\n",
		"no value":   "CONFIG_A=\n",
		"no prefix":  "SMP=y\n",
		"typing":     "CONFIG_A y\n",
		"bad letter": "CONFIG_A-B=y\n",
	} {
		if _, err := parseFragment("f", text); err == nil || !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("%s: got %v, want an error with the place", name, err)
		}
	}
}

func TestVerify(t *testing.T) {
	const config = "# comment\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=64\nCONFIG_S=\"x\"\nCONFIG_ON=y\n"
	good := mustParse(t, "f", "CONFIG_A=y\nCONFIG_B=n\nCONFIG_ABSENT=n\nCONFIG_N=64\nCONFIG_S=\"x\"\n").options
	if err := verify(good, config); err != nil {
		t.Errorf("all as asked: %v", err)
	}
	bad := mustParse(t, "f", "CONFIG_B=y\nCONFIG_GONE=y\nCONFIG_N=8\nCONFIG_ON=n\nCONFIG_A=y\n").options
	var unmet *UnmetError
	if err := verify(bad, config); !errors.As(err, &unmet) {
		t.Fatalf("got %v, want an UnmetError", err)
	}
	want := []string{
		"CONFIG_B is n, f:1 asks for y",
		"CONFIG_GONE is n, f:2 asks for y",
		"CONFIG_N is 64, f:3 asks for 8",
		"CONFIG_ON is y, f:4 asks for n",
	}
	if strings.Join(unmet.Unmet, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", unmet.Unmet, want)
	}
}

// TestFragmentsParse reads every fragment of the repository.
func TestFragmentsParse(t *testing.T) {
	var all []string
	for _, pattern := range []string{"../../board/*.config", "../../board/*/*.config"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, names...)
	}
	if len(all) < 3 {
		t.Fatalf("found only %q", all)
	}
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseFragment(name, string(b)); err != nil {
			t.Error(err)
		}
	}
}

func TestSpecCheck(t *testing.T) {
	good := Spec{Source: "linux-source", Fragments: []string{"a.config"}, Target: "bzImage", Image: "arch/x86/boot/bzImage", Arch: "amd64"}
	if err := good.check(); err != nil {
		t.Errorf("good spec: %v", err)
	}
	for name, change := range map[string]func(*Spec){
		"architecture":     func(s *Spec) { s.Arch = "vax" },
		"no source":        func(s *Spec) { s.Source = "" },
		"no fragments":     func(s *Spec) { s.Fragments = nil },
		"image outside":    func(s *Spec) { s.Image = "../x" },
		"fragment outside": func(s *Spec) { s.Fragments = []string{"../../x"} },
	} {
		bad := good
		change(&bad)
		if err := bad.check(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
