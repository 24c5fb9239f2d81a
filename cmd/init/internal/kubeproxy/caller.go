package kubeproxy

import (
	"net/http"
	"strings"

	"github.com/digital-mycelium/os/pkg/identity"
)

// Headers by which Kubernetes is told whom a call is for.
const (
	impersonate      = "Impersonate-"
	impersonateUser  = impersonate + "User"
	impersonateGroup = impersonate + "Group"
	// impersonateKey is the extra "mycelium.os/key".
	impersonateKey = impersonate + "Extra-Mycelium.os%2fkey"
	// remote begins the headers by which an aggregating API server says the same.
	remote = "X-Remote-"
	// websocketToken begins a token in Sec-WebSocket-Protocol, where browsers have
	// to put it.
	websocketToken = "base64url.bearer.authorization.k8s.io."
)

// caller is a member of the network.
type caller struct {
	name, key string
	role      identity.APIRole
}

// identify makes h, the headers of a call that Kubernetes will get, say whom it
// is for. A call that brings a token says so itself. An admin may act as
// somebody else.
func (c caller) identify(h http.Header, token bool) {
	deletePrefix(h, remote)
	if token || c.role == identity.Admin && h.Get(impersonateUser) != "" {
		return
	}
	deletePrefix(h, impersonate)
	h.Set(impersonateUser, "mycelium:"+c.name)
	h.Set(impersonateKey, c.key)
	h[impersonateGroup] = []string{group(c.role), "system:authenticated"}
}

// group is the group of a role in Kubernetes.
func group(r identity.APIRole) string {
	switch r {
	case identity.Admin:
		return "system:masters"
	case identity.Operator:
		return "mycelium:operators"
	default:
		return "mycelium:readers"
	}
}

// hasToken reports whether a call has credentials of Kubernetes' own, good or bad.
func hasToken(h http.Header) bool {
	for key, values := range h {
		if strings.EqualFold(key, "Authorization") {
			return true
		}
		if !strings.EqualFold(key, "Sec-Websocket-Protocol") {
			continue
		}
		for _, v := range values {
			if strings.Contains(v, websocketToken) {
				return true
			}
		}
	}
	return false
}

func hasImpersonation(h http.Header) bool {
	for key := range h {
		if hasPrefixFold(key, impersonate) {
			return true
		}
	}
	return false
}

func deletePrefix(h http.Header, prefix string) {
	for key := range h {
		if hasPrefixFold(key, prefix) {
			delete(h, key)
		}
	}
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
