package fat

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

const longUnits = 13 // UTF-16 code units in one long-name entry

var errTooMany = errors.New("too many names alike")

// checkName tells whether name can be a long file name.
func checkName(name string) error {
	if n := len(utf16.Encode([]rune(name))); n == 0 || n > 255 {
		return fmt.Errorf("file name %q: want 1 to 255 characters", name)
	}
	if strings.ContainsAny(name, `"*/:<>?\|`) || strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 }) ||
		strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return fmt.Errorf("file name %q: has a character that FAT does not allow", name)
	}
	return nil
}

// shortName returns the 8.3 name of name: the name itself in upper case when it
// fits, else six characters, "~" and the first number that is not taken.
func shortName(name string, taken map[[11]byte]bool) ([11]byte, error) {
	base, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		base, ext = name[:i], name[i+1:]
	}
	b, lossyBase := shortChars(base)
	e, lossyExt := shortChars(ext)
	if !lossyBase && !lossyExt && len(b) <= 8 && len(e) <= 3 && b != "" {
		if s := pack(b, e); !taken[s] {
			return s, nil
		}
	}
	for i := 1; i < 1_000_000; i++ {
		tail := fmt.Sprintf("~%d", i)
		s := pack(b[:min(len(b), 8-len(tail))]+tail, e[:min(len(e), 3)])
		if !taken[s] {
			return s, nil
		}
	}
	return [11]byte{}, fmt.Errorf("file name %q: %w", name, errTooMany)
}

// shortChars maps s to the characters of short names; lossy is true when that
// changes more than the case.
func shortChars(s string) (out string, lossy bool) {
	var b strings.Builder
	for _, r := range strings.ToUpper(s) {
		switch {
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("$%'-_@~`!(){}^#&", r):
			b.WriteRune(r)
		case r == ' ' || r == '.':
			lossy = true
		default:
			lossy = true
			b.WriteByte('_')
		}
	}
	return b.String(), lossy
}

func pack(base, ext string) (s [11]byte) {
	copy(s[:], "           ")
	copy(s[:8], base)
	copy(s[8:], ext)
	return s
}

// longEntries returns how many long-name entries n needs: none when its name
// is its short name.
func longEntries(n *node) int {
	base := strings.TrimRight(string(n.short[:8]), " ")
	if ext := strings.TrimRight(string(n.short[8:]), " "); ext != "" {
		base += "." + ext
	}
	if base == n.name {
		return 0
	}
	return (len(utf16.Encode([]rune(n.name))) + longUnits - 1) / longUnits
}

// checksum ties long-name entries to their short entry.
func checksum(short [11]byte) (sum byte) {
	for _, c := range short {
		sum = (sum&1)<<7 + sum>>1 + c
	}
	return sum
}
