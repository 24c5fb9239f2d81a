package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	someToken = "000102030405060708090a0b0c0d0e0f"
	// someCA is the authority of a cluster that K3s made, someCAHash what K3s
	// wrote into that cluster's tokens.
	someCA = `-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIBADAKBggqhkjOPQQDAjAjMSEwHwYDVQQDDBhrM3Mtc2Vy
dmVyLWNhQDE3OTUyNzczODIwHhcNMjYxMTIxMTUwOTQyWhcNMzYxMTE4MTUwOTQy
WjAjMSEwHwYDVQQDDBhrM3Mtc2VydmVyLWNhQDE3OTUyNzczODIwWTATBgcqhkjO
PQIBBggqhkjOPQMBBwNCAARUdWcgH1A0UF1qYS/nhvfj/SsLIR/De4inLOAoH4zq
NmUBgVKeI0AEYU8ts9B9yfRtxNC22wvP4p0cB6SvFdBVo0IwQDAOBgNVHQ8BAf8E
BAMCAqQwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUhvOpEahm4eUXsE9rrq4i
9ccj9D0wCgYIKoZIzj0EAwIDSAAwRQIgKzrqMxmcluSiPjssOV9KfvS1t824UTad
8rEX4P24fLMCIQDCgpAoQOFpqgd/uHmloKhJVjL6jh/di9Sxzl1vSxZIRg==
-----END CERTIFICATE-----
`
	someCAHash = "035d9c77fc860cea6b30976db88b0a9ccfafa26ca2cfb0c8aaef7ffdfc55e2d6"
)

func TestJoinToken(t *testing.T) {
	agent := agentToken(someToken)
	if !hexPattern.MatchString(agent) || agent == someToken || agent != agentToken(someToken) || agent == agentToken(agent) {
		t.Errorf("agent token %q", agent)
	}
	for isAgent, want := range map[bool]string{
		false: "K10" + someCAHash + "::server:" + someToken,
		true:  "K10" + someCAHash + "::node:" + agent,
	} {
		token, err := joinToken(someToken, []byte(someCA), isAgent)
		if err != nil || token != want {
			t.Errorf("token %q, %v, want %q", token, err, want)
		}
		secret, err := secretOfJoinToken(token, isAgent)
		if err != nil || !strings.HasSuffix(token, ":"+secret) {
			t.Errorf("secret %q of %q, %v", secret, token, err)
		}
		if _, err := secretOfJoinToken(token, !isAgent); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("token of the other role: %v", err)
		}
	}
	for name, ca := range map[string]string{"empty": "", "no PEM": "x", "two": someCA + someCA, "damaged": strings.Replace(someCA, "MII", "AAA", 1)} {
		if token, err := joinToken(someToken, []byte(ca), false); err == nil {
			t.Errorf("%s: %q", name, token)
		}
	}
	if got := joinURL(netip.MustParseAddr("100.64.1.2")); got != "https://100.64.1.2:6443" {
		t.Errorf("URL %s", got)
	}
}

func TestAdoptServerToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for _, token := range []string{someToken, someToken, agentToken(someToken)} {
		if err := adoptServerToken(path, token); err != nil {
			t.Fatal(err)
		}
		if got, err := loadSecret(path); err != nil || got != token {
			t.Errorf("%q, %v, want %q", got, err, token)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := adoptServerToken(t.TempDir(), someToken); err == nil {
		t.Error("a folder was replaced")
	}
}

func FuzzSecretOfJoinToken(f *testing.F) {
	token, err := joinToken(someToken, []byte(someCA), true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token, true)
	f.Add("K10::server:", false)
	f.Fuzz(func(t *testing.T, token string, agent bool) {
		secret, err := secretOfJoinToken(token, agent)
		if err == nil && !hexPattern.MatchString(secret) {
			t.Errorf("secret %q", secret)
		}
	})
}
