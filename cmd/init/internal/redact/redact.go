// Package redact takes secrets out of text that leaves the machine: those that
// are known, in the forms in which programs write them down, and whatever looks
// like one. What it cannot know is a password that a program writes without
// saying what it is.
package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Mark stands in the place of a secret.
const Mark = "(secret)"

// shortest is how long a known secret, or one of its forms, must be in bytes: a
// shorter one would be found in words that mean something else.
const shortest = 6

// Redactor takes secrets out of text. It is safe for concurrent use.
type Redactor struct{ known *strings.Replacer }

// New returns a redactor that knows these secrets. Their lines, their hexadecimal
// and base64 forms (also as a part of something longer) and their forms in JSON
// and URLs are secret as well.
func New(secrets []string) *Redactor {
	var all []string
	for _, s := range secrets {
		for _, part := range parts(s) {
			all = append(all, forms(part)...)
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return len(s) < shortest || strings.Contains(Mark, s) })
	// The longest first, so that no part of one is left.
	slices.SortFunc(all, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	pairs := make([]string, 0, 2*len(all))
	for _, s := range slices.Compact(all) {
		pairs = append(pairs, s, Mark)
	}
	return &Redactor{strings.NewReplacer(pairs...)}
}

// Text returns text without secrets. It is to be a whole file: a secret that is
// cut in two is not found.
func (r *Redactor) Text(text string) string {
	text = r.known.Replace(text)
	if strings.Contains(text, privateKey) {
		for _, p := range blocks() {
			text = p.find.ReplaceAllString(text, p.replace)
		}
	}
	var out strings.Builder
	out.Grow(len(text))
	for line := range strings.Lines(text) {
		out.WriteString(redactLine(line))
	}
	return out.String()
}

// redactLine applies those patterns whose sign is in the line: looking for a sign
// is a hundred times as fast as looking for the pattern.
func redactLine(line string) string {
	folded := strings.ToLower(line)
	for _, p := range patterns() {
		if slices.ContainsFunc(p.signs, func(sign string) bool { return strings.Contains(folded, sign) }) {
			line = p.find.ReplaceAllString(line, p.replace)
		}
	}
	return line
}

// parts returns the secret as it is, without white space around it, and its lines
// when there are several.
func parts(secret string) []string {
	list := []string{secret, strings.TrimSpace(secret)}
	if lines := strings.Split(list[1], "\n"); len(lines) > 1 {
		for _, line := range lines {
			line = strings.TrimSpace(line)
			if len(line) >= 2*shortest && !strings.HasPrefix(line, "-----") {
				list = append(list, line)
			}
		}
	}
	return list
}

// forms returns the ways in which programs write a secret down.
func forms(s string) []string {
	if len(s) < shortest {
		return nil
	}
	quoted := strconv.Quote(s) // as slog and %q have it
	list := []string{s, url.QueryEscape(s), url.PathEscape(s), quoted[1 : len(quoted)-1]}
	if b, err := json.Marshal(s); err == nil {
		list = append(list, string(b[1:len(b)-1]))
	}
	h := hex.EncodeToString([]byte(s))
	list = append(list, h, strings.ToUpper(h))
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		list = append(list, insideBase64(s, encoding)...)
	}
	return list
}

// insideBase64 returns what is found in the base64 form of anything that holds s:
// three ways, by where s begins in a group of three bytes, without the characters
// that depend on what stands around it.
func insideBase64(s string, encoding *base64.Encoding) []string {
	var list []string
	for before, drop := range []int{0, 2, 3} {
		b := encoding.EncodeToString(append(make([]byte, before), s...))
		end := len(b)
		if (before+len(s))%3 != 0 {
			end--
		}
		if end-drop >= 2*shortest {
			list = append(list, b[drop:end])
		}
	}
	return list
}

type pattern struct {
	find    *regexp.Regexp
	replace string
	// signs are parts, in lower case, of which every match has one.
	signs []string
}

// privateKey is a part of every match of blocks.
const privateKey = "PRIVATE KEY-----"

// blocks are PEM (RFC 7468), whole or without its beginning or its end.
var blocks = sync.OnceValue(func() []pattern {
	return []pattern{
		{find: regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?-----END [A-Z0-9 ]*PRIVATE KEY-----`), replace: Mark},
		{find: regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:[A-Za-z0-9+/=\s]|\\[nr])*`), replace: Mark},
		{find: regexp.MustCompile(`(?:[A-Za-z0-9+/=]+(?:\s|\\[nr])+)*-----END [A-Z0-9 ]*PRIVATE KEY-----`), replace: Mark},
	}
})

// named begins what is called a secret: its name, and what stands before its value.
const named = `(?i)((?:pass(?:word|wd|phrase)?|secret|token|credential|(?:api|access|private|client)[_-]?key(?:[_-]?data)?)s?`

// patterns are what a secret looks like in a line, in the order in which they are
// replaced. They are compiled when they are first needed, not while a machine boots.
var patterns = sync.OnceValue(func() []pattern {
	list := []pattern{
		// PEM in base64, as kubeconfigs have it. Certificates begin so, too.
		{regexp.MustCompile(`LS0tLS1CRUdJTi[A-Za-z0-9+/=]+`), Mark, []string{"ls0tls1crudjti"}},
		// Invites, age identities, K3s' tokens, JSON web tokens.
		{regexp.MustCompile(`(?i)mycinv[a-z]*1[0-9a-z]{8,}`), Mark, []string{"mycinv"}},
		{regexp.MustCompile(`(?i)AGE-[A-Z0-9-]*KEY-[A-Z0-9-]*1[0-9a-z]{8,}`), Mark, []string{"age-"}},
		{regexp.MustCompile(`K10[0-9A-Za-z]*::[^\s"'\\]+`), Mark, []string{"k10"}},
		{regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`), Mark, []string{"eyj"}},
		// HTTP.
		{regexp.MustCompile(`(?i)(authorization\\*["']?\s*[:=]\s*\[?\\*["']?)(?:(?:bearer|basic|digest)\s+)?[^\s"'\\\]]+`), "${1}" + Mark, []string{"authorization"}},
		{regexp.MustCompile(`(?i)\b(bearer\s+)[A-Za-z0-9._~+/-]{8,}=*`), "${1}" + Mark, []string{"bearer"}},
		{regexp.MustCompile(`(?i)\b(basic\s+)[A-Za-z0-9+/]{15,}=*`), "${1}" + Mark, []string{"basic"}},
		// Who asks, in a URL (RFC 3986).
		{regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s/"'?#]+@`), "${1}" + Mark + "@", []string{"@"}},
	}
	// What is called a secret: quoted within quotes, quoted, bare.
	for _, form := range []struct{ value, replace string }{
		{`\\*["']?\s{0,2}[:=]\s{0,2}\\+")[^"\n]*?(\\+")`, "${1}" + Mark + "${2}"},
		{`["']?\s{0,2}[:=]\s{0,2}")(?:\\.|[^"\\\n])*"?`, "${1}" + Mark + `"`},
		{`["']?\s{0,2}[:=]\s{0,2}')[^'\n]*'?`, "${1}" + Mark + "'"},
		{`\\*["']?\s{0,2}[:=]\s{0,2})[^\s"'\\({\[][^\s"']*`, "${1}" + Mark},
	} {
		list = append(list, pattern{regexp.MustCompile(named + form.value), form.replace, []string{"pass", "secret", "token", "credential", "key"}})
	}
	return list
})
