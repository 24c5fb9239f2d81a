package deps

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k3s-io/k3s/pkg/daemons/config"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/pkg/serviceaccount"

	jose "gopkg.in/go-jose/go-jose.v2/jwt"
)

func paths(t *testing.T) *config.ControlRuntime {
	t.Helper()
	dir := t.TempDir()
	runtime := &config.ControlRuntime{ServiceCurrentKey: filepath.Join(dir, "service.current.key")}
	runtime.ServiceKey = filepath.Join(dir, "service.key")
	return runtime
}

// TestServiceAccountKey makes a key and has Kubernetes sign and check a token with it.
func TestServiceAccountKey(t *testing.T) {
	runtime := paths(t)
	if err := genServiceAccount(runtime); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(runtime.ServiceKey)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", runtime.ServiceKey, info.Mode(), err)
	}
	current, err := keyutil.PrivateKeyFromFile(runtime.ServiceCurrentKey)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := current.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() {
		t.Fatalf("the current key is a %T", current)
	}
	signer, err := serviceaccount.JWTTokenGenerator("https://issuer", current)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signer.GenerateToken(t.Context(), &jose.Claims{Subject: "system:serviceaccount:a:b", Audience: jose.Audience{"x"}}, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	public, err := keyutil.PublicKeysFromFile(runtime.ServiceKey) // as the API server reads it
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.ParseSigned(token)
	if err != nil || len(parsed.Headers) != 1 || parsed.Headers[0].Algorithm != "ES256" {
		t.Errorf("token %s: %v", token, err)
	}
	if err := parsed.Claims(public[0], &jose.Claims{}); err != nil {
		t.Errorf("signature: %v", err)
	}
}

// TestServiceAccountKeyStays expects the key of a node that was set up with RSA to stay.
func TestServiceAccountKeyStays(t *testing.T) {
	runtime := paths(t)
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := keyutil.MarshalPrivateKeyToPEM(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(runtime.ServiceKey, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := genServiceAccount(runtime); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{runtime.ServiceKey, runtime.ServiceCurrentKey} {
		got, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(string(pem)) {
			t.Errorf("%s is another key: %v", file, err)
		}
	}
}
