// Package plaintext shows text that came from elsewhere on a terminal without
// letting it steer the terminal.
package plaintext

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// Line returns s as one line: without escape sequences, control characters and
// what else is not printable; every kind of blank is a space.
func Line(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, ansi.Strip(s))
}
