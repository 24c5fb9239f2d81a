package nodepassword

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/k3s-io/k3s/pkg/daemons/config"
)

func TestVerifyLocalPassword(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "agent", "etc", "rancher", "node", "password")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	control := &config.Control{DataDir: filepath.Join(dir, "server"), Rootless: true}
	for password, want := range map[string]int{
		"secret": http.StatusOK, "": http.StatusForbidden, "secre": http.StatusForbidden,
		"secret\n": http.StatusForbidden, "secrets": http.StatusForbidden, "Secret": http.StatusForbidden,
	} {
		known := map[string]bool{"n": true} // its Secret is being made
		name, status, err := verifyLocalPassword(t.Context(), control, new(sync.Mutex), known, &nodeInfo{Name: "n", Password: password})
		if status != want || (err == nil) != (want == http.StatusOK) || (name == "n") != (want == http.StatusOK) {
			t.Errorf("password %q: %q, %d, %v; want %d", password, name, status, err, want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, status, err := verifyLocalPassword(t.Context(), control, new(sync.Mutex), nil, &nodeInfo{Name: "n"}); err == nil || status != http.StatusInternalServerError {
		t.Errorf("without a file: %d, %v", status, err)
	}
}

// TestStoredHashesStaySlow expects scrypt for what lies in the cluster.
func TestStoredHashesStaySlow(t *testing.T) {
	hash, err := Hasher.CreateHash("secret")
	if err != nil {
		t.Fatal(err)
	}
	if err := Hasher.VerifyHash(hash, "secret"); err != nil {
		t.Error(err)
	}
	if err := Hasher.VerifyHash(hash, "other"); err == nil {
		t.Error("another password has the same hash")
	}
}
