package plaintext

import (
	"strings"
	"testing"
	"unicode"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, äöü":           "plain text, äöü",
		"a\tb\r\nc":                 "a b  c",
		"\x1b[2J\x1b[31mred\x1b[0m": "red",
		"\x1b]0;title\x07shown":     "shown",
		"bell\a\x00\x7f":            "bell",
		"c1 \u009b31m":              "c1 31m",
		"right\u202eleft":           "rightleft",
		"bad \xff utf-8":            "bad  utf-8",
	} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("\x1b[31m\u009b0m text")
	f.Add("\x1b\x1b[[AA")
	f.Fuzz(func(t *testing.T, s string) {
		if i := strings.IndexFunc(Line(s), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("Line(%q) = %q: a terminal acts on what is at %d", s, Line(s), i)
		}
	})
}
