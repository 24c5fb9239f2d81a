package main

import (
	"testing"
	"time"
)

// at returns the time s seconds after the beginning of the test's world.
func at(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }

func TestFindMarks(t *testing.T) {
	const firmware = "\x1b[2J\x1b[01;01HBdsDxe: loading Boot0001\r\n"
	cases := []struct {
		name    string
		console string
		kernel  string
		init    string
	}{
		{
			"Debian", firmware + "EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path\r\n" +
				"[    0.81] APIC: Switch\r\nLoading, please wait...\r\n[    2.5] x\r\nWelcome\r\n",
			"EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path", "Loading, please wait...",
		},
		{
			"without a stub's line", firmware + "[    0.000000] Linux version 6.12\r\n\r\nmycelium: init 1 started\r\n",
			"[    0.000000] Linux version 6.12", "mycelium: init 1 started",
		},
		{
			"several lines of the stub", "EFI stub: Loaded initrd\r\nEFI stub: Using DTB\r\nmycelium: init 1 started\r\n",
			"EFI stub: Loaded initrd", "mycelium: init 1 started",
		},
		{"no kernel yet", firmware, "", ""},
		{"no init yet", firmware + "EFI stub: x\r\n[    0.1] y\r\n", "EFI stub: x", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var con console
			con.add(at(1), []byte(c.console))
			m := findMarks(con.snapshot())
			if m.KernelLine != c.kernel || m.InitLine != c.init {
				t.Errorf("got kernel %q, init %q; want %q, %q", m.KernelLine, m.InitLine, c.kernel, c.init)
			}
			if m.Kernel.IsZero() != (c.kernel == "") || m.Init.IsZero() != (c.init == "") {
				t.Errorf("times %v, %v do not go with the lines", m.Kernel, m.Init)
			}
		})
	}
}

// A line counts from its first byte on, however many pieces it comes in.
func TestConsolePieces(t *testing.T) {
	var c console
	c.add(at(1), []byte("one"))
	c.add(at(2), []byte(" two\nthree"))
	c.add(at(3), []byte("\n\x1b[1mfour\x1b[0m\n"))
	want := []consoleLine{{at(1), "one two"}, {at(2), "three"}, {at(3), "four"}}
	got := c.snapshot()
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

// FuzzConsole gives the reader what a broken guest may write.
func FuzzConsole(f *testing.F) {
	f.Add([]byte("EFI stub: a\r\n\x1b[2Jb\n"), 3)
	f.Fuzz(func(t *testing.T, output []byte, cut int) {
		var whole, pieces console
		whole.add(at(1), output)
		if cut < 0 || cut > len(output) {
			cut = len(output) / 2
		}
		pieces.add(at(1), output[:cut])
		pieces.add(at(1), output[cut:])
		a, b := whole.snapshot(), pieces.snapshot()
		if len(a) != len(b) {
			t.Fatalf("%d lines in one piece, %d in two", len(a), len(b))
		}
		for i := range a {
			if a[i] != b[i] {
				t.Errorf("line %d: %q in one piece, %q in two", i, a[i].Text, b[i].Text)
			}
		}
		findMarks(a)
	})
}

func TestFindMilestones(t *testing.T) {
	lines := []consoleLine{{at(1), "K3s of the boot before"}, {at(3), "init runs"}, {at(5), "K3s runs"}, {at(6), "K3s runs"}}
	got := findMilestones(lines, at(2), []milestone{{"init", "init runs"}, {"K3s", "K3s"}, {"never", "x"}})
	want := []reached{{"init", 1}, {"K3s", 3}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}
