package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/digital-mycelium/os/pkg/durable"
)

// A cluster has two secrets. The server token lets a server join: it opens the
// private keys of all authorities. The agent token lets a node ask for its own
// certificates, no more. Each server must know both, and derives the second
// from the first, so that one secret travels and one lies on disk.

// k3sServerCA is the certificate of the authority of a server's own port.
const k3sServerCA = k3sServerDir + "/tls/server-ca.crt"

// agentToken derives the agent token from the server token. The way back is not
// open.
func agentToken(serverToken string) string {
	mac := hmac.New(sha256.New, []byte(serverToken))
	mac.Write([]byte("mycelium agent token"))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// joinToken is what a node that joins hands to K3s: the secret that goes with
// its role, and the hash of the authority that the server must show a
// certificate of. ca is the content of k3sServerCA.
func joinToken(serverToken string, ca []byte, agent bool) (string, error) {
	block, rest := pem.Decode(ca)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return "", errors.New("make a token for a joining node: the cluster's authority is not one certificate in PEM form")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return "", fmt.Errorf("make a token for a joining node: %w", err)
	}
	sum := sha256.Sum256(ca)
	role := "server:" + serverToken
	if agent {
		role = "node:" + agentToken(serverToken)
	}
	return "K10" + hex.EncodeToString(sum[:]) + "::" + role, nil
}

// joinURL is where a server answers who joins.
func joinURL(server netip.Addr) string {
	return fmt.Sprintf("https://%s", netip.AddrPortFrom(server, k3sPort))
}

// joinTokenPattern is the form that joinToken makes.
var joinTokenPattern = regexp.MustCompile(`^K10[0-9a-f]{64}::(server|node):([0-9a-f]{32})$`)

// secretOfJoinToken returns the secret of a token that a server gave away for
// the role, "server token" or "agent token". The error never holds the token.
func secretOfJoinToken(token string, agent bool) (string, error) {
	m := joinTokenPattern.FindStringSubmatch(token)
	if m == nil {
		return "", errors.New("the server's answer is no token of a cluster: are both of the same version?")
	}
	if (m[1] == "node") != agent {
		return "", fmt.Errorf("the server's answer is a token for the role %q, which is not this node's", m[1])
	}
	return m[2], nil
}

// adoptServerToken makes the token that a joining server was given that of its
// own, durably, before K3s starts. A server that has a database, whose
// bootstrap data its token opens, must not call it.
func adoptServerToken(path, serverToken string) error {
	have, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(have)) == serverToken {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.WriteFile(path, []byte(serverToken+"\n"), 0o600)
}

// placeToken writes a token where K3s reads it, in memory.
func placeToken(path, token string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(token+"\n"), 0o600)
}
