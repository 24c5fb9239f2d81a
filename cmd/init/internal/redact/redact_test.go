package redact

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
)

func testKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// leaks returns the parts of a secret that are in text: any eight of its characters.
func leaks(text, secret string) (found []string) {
	for i := 0; i+8 <= len(secret); i++ {
		if part := secret[i : i+8]; strings.Contains(text, part) && !strings.Contains(part, "-----") && !strings.Contains(part, "\n") {
			found = append(found, part)
		}
	}
	return found
}

func TestKnownSecrets(t *testing.T) {
	binary := "\x00\x01\xfe\xff a seed of 32 bytes, not text \x80"
	for name, secret := range map[string]string{
		"token": "0123456789abcdef0123456789abcdef", "phrase": `a "quoted" pass\phrase & more`, "binary": binary,
		"key": testKey(t), "lines": "first line of it\nsecond line of it\n", "short": "s3cr3t",
	} {
		r := New([]string{"", "x", secret})
		quoted, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		var logged strings.Builder
		slog.New(slog.NewTextHandler(&logged, nil)).Info("said", "it", secret)
		texts := map[string]string{
			"raw": "before " + secret + " after", "hex": hex.EncodeToString([]byte(secret)), "HEX": fmt.Sprintf("%X", secret),
			"query": "?q=" + url.QueryEscape(secret), "path": "/" + url.PathEscape(secret) + "/", "json": string(quoted), "log": logged.String(),
		}
		if len(secret) > 10 {
			for n := range 3 {
				whole := strings.Repeat("u", n) + secret + strings.Repeat("v", n)
				texts[fmt.Sprintf("base64 %d", n)] = base64.StdEncoding.EncodeToString([]byte(whole))
				texts[fmt.Sprintf("base64url %d", n)] = base64.RawURLEncoding.EncodeToString([]byte(whole))
			}
		}
		for form, text := range texts {
			got := r.Text(text)
			if !strings.Contains(got, Mark) {
				t.Errorf("%s as %s stays: %q", name, form, got)
			}
			if found := leaks(got, secret); len(found) > 0 {
				t.Errorf("%s as %s: %q still holds %q", name, form, got, found)
			}
		}
		for line := range strings.Lines(secret) {
			if line = strings.TrimSpace(line); len(line) > 12 && !strings.HasPrefix(line, "-----") && strings.Contains(r.Text("[ 1.2] "+line), line) {
				t.Errorf("%s: the line %q stays", name, line)
			}
		}
	}
}

// TestUnknownSecrets writes § for the secret in each text.
func TestUnknownSecrets(t *testing.T) {
	const s = "hunter2hunter2"
	key := testKey(t)
	body := strings.Split(key, "\n")[1]
	tests := []struct{ text, secret, want string }{
		{"password=§", s, "password=(secret)"},
		{"a PASSWORD: § b", s, "a PASSWORD: (secret) b"},
		{`{"password":"§","x":1}`, s, `{"password":"(secret)","x":1}`},
		{`{"clientSecret": "§ with \" and spaces", "x": 1}`, s, `{"clientSecret": "(secret)", "x": 1}`},
		{`msg="{\"token\":\"§ and more\",\"x\":1}"`, s, `msg="{\"token\":\"(secret)\",\"x\":1}"`},
		{"passphrase: '§ and more' x", s, "passphrase: '(secret)' x"},
		{`secret="§ without an end`, s, `secret="(secret)"`},
		{"K3S_TOKEN=§ --flag", s, "K3S_TOKEN=(secret) --flag"},
		{"--token=§ --server=https://a", s, "--token=(secret) --server=https://a"},
		{"PrivateKey = §=\nx", s, "PrivateKey = (secret)\nx"},
		{"client-key-data: §", s, "client-key-data: (secret)"},
		{"api_key: §", s, "api_key: (secret)"},
		{"https://user:§@example.org/x", s, "https://(secret)@example.org/x"},
		{"https://user:p@§@example.org/x", s, "https://(secret)@example.org/x"},
		{"https://§@example.org", s, "https://(secret)@example.org"},
		{"Authorization: Bearer §", s, "Authorization: (secret)"},
		{"authorization: §,", s, "authorization: (secret)"},
		{`"Authorization":["Bearer §"]`, s, `"Authorization":["(secret)"]`},
		{"sent bearer §.x to", s, "sent bearer (secret) to"},
		{"Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+s)), base64.StdEncoding.EncodeToString([]byte("user:" + s)), "Basic (secret)"},
		{"an invite mycinvite1qqqsyqcyq5rqwzqf§!", s, "an invite (secret)!"},
		{"AN INVITE MYCINVITE1QQQSYQCYQ5RQWZQF", "QQQSYQCY", "AN INVITE (secret)"},
		{"mycinv1qqqsyqcyq5§", s, "(secret)"},
		{"AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4", "GQ9778VQ", "(secret)"},
		{"K10a1b2c3::server:§", s, "(secret)"},
		{`token "K10::§"`, s, `token "(secret)"`},
		{"jwt eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJhIn0abc.§ end", s, "jwt (secret) end"},
		{"x\n" + key + "y", body, "x\n(secret)\ny"},
		{strings.ReplaceAll(key, "\n", `\n`), body, `(secret)\n`},
		{"x\n" + key[:150], body, "x\n(secret)"},
		{"x: " + key[40:], strings.Split(key, "\n")[2], "x: (secret)\n"},
		{"[ 1.0] " + strings.ReplaceAll(strings.TrimSpace(key), "\n", "\n[ 1.0] "), body, "[ 1.0] (secret)"},
		{"key: " + base64.StdEncoding.EncodeToString([]byte(key)) + "\n", base64.StdEncoding.EncodeToString([]byte(key))[20:], "key: (secret)\n"},
	}
	r := New(nil)
	for _, tt := range tests {
		text := strings.ReplaceAll(tt.text, "§", s)
		got := r.Text(text)
		if found := leaks(got, tt.secret); got != tt.want || len(found) > 0 {
			t.Errorf("%q: %q, want %q (left: %q)", text, got, tt.want, found)
		}
	}
}

func TestOrdinaryTextStays(t *testing.T) {
	for _, text := range []string{
		"", "phase state ok 0.5s", "k3s listens on https://127.0.0.1:6443/readyz?verbose", "/state/mycelium/token-file=x",
		"kubernetes.io~secret/default-token-abcde", "node password rejected", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
		"secrets: {}", `"tokens":[]`, "password: (secret)", "basic authentication", "user@example.org", "mail ann@example.org: ok",
	} {
		if got := New([]string{"12345", "(secret)", "secret"}).Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("password=0123456789abcdef", "0123456789abcdef")
	f.Add("-----BEGIN PRIVATE KEY-----\nx-----END PRIVATE KEY-----", "abcdefgh")
	f.Fuzz(func(t *testing.T, text, secret string) {
		got := New([]string{secret}).Text(text)
		plain := len(secret) >= shortest && strings.Trim(secret, "0123456789abcdefghijklmnopqrstuvwxyz") == "" && !strings.Contains(Mark, secret)
		if plain && strings.Contains(got, secret) {
			t.Errorf("%q holds %q", got, secret)
		}
	})
}
