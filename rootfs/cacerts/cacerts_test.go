package cacerts

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

func TestBuild(t *testing.T) {
	c, err := Build(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(c.File)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) || pool.Equal(x509.NewCertPool()) {
		t.Error("the bundle holds no certificate")
	}
}

func TestBundleRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := bundle(dir); err == nil {
		t.Error("an empty directory: no error")
	}
	if err := os.WriteFile(filepath.Join(dir, "a.crt"), []byte("no PEM"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := bundle(dir); err == nil {
		t.Error("a file that is no certificate: no error")
	}
}
