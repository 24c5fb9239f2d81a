package wpasupplicant

import (
	"debug/elf"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

func TestBuild(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		c, err := Build(t.Context(), "../..", arch)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.Open(c.File)
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine {
			t.Errorf("%s: program is for %v", arch, f.Machine)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s: program is not static", arch)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if arch != runtime.GOARCH {
			continue
		}
		out, err := exec.Command(c.File, "-h").Output()
		if err != nil || !strings.Contains(string(out), "nl80211") || strings.Contains(string(out), "wext =") {
			t.Errorf("its drivers are not nl80211 alone: %v\n%s", err, out)
		}
	}
	if _, err := Build(t.Context(), "../..", "mips"); err == nil {
		t.Error("an unknown architecture is built for")
	}
}
