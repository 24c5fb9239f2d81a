package kube

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withFiles is the kubeconfig doc with its certificates in files in dir, as K3s
// writes it for its agent.
func withFiles(t *testing.T, doc, dir string) string {
	t.Helper()
	for key, file := range map[string]string{
		"certificate-authority": "ca.crt", "client-certificate": "client.crt", "client-key": "client.key",
	} {
		_, rest, ok := strings.Cut(doc, key+"-data: ")
		if !ok {
			t.Fatalf("no %s in\n%s", key, doc)
		}
		data, _, _ := strings.Cut(rest, "\n")
		b, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		doc = strings.Replace(doc, key+"-data: "+data, key+": "+path, 1)
	}
	return doc
}

// write writes a file whose time differs from that of all earlier ones.
func write(t *testing.T, path, content string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestLoadKubeconfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k3scontroller.kubeconfig")
	doc := withFiles(t, kubeconfigFor(t), dir)
	write(t, path, doc, time.Now())
	c, err := LoadKubeconfig(path)
	if err != nil || c.Server != "https://127.0.0.1:6443" || len(c.TLS.Certificates) != 1 || c.TLS.RootCAs == nil {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := ParseKubeconfig([]byte(doc)); err == nil || !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("a parser that reads no files: %v", err)
	}
	for _, torn := range []string{"", "\x00\x00"} {
		write(t, filepath.Join(dir, "client.key"), torn, time.Now())
		if _, err := LoadKubeconfig(path); err == nil {
			t.Errorf("client key %q: no error", torn)
		}
	}
	if err := os.Remove(filepath.Join(dir, "client.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKubeconfig(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a client key: %v", err)
	}
}

func TestSourceFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k3s.yaml")
	s := NewSource(path)
	if _, err := s.Client(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before the file exists: %v", err)
	}
	first := time.Now()
	write(t, path, kubeconfigFor(t), first)
	one, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := s.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Client(); again != one || err != nil {
		t.Errorf("the file is the same, the client is not: %v", err)
	}
	// In the middle of being written.
	write(t, path, "clusters:\n", first.Add(time.Second))
	if _, err := s.Client(); err == nil {
		t.Error("half a file is no error")
	}
	write(t, path, kubeconfigFor(t), first.Add(2*time.Second))
	two, err := s.Client()
	if err != nil || two == one {
		t.Errorf("after a new file: the same client %v, %v", two == one, err)
	}
	if c, err := s.Credentials(); err != nil || c.TLS == credentials.TLS {
		t.Errorf("after a new file: the same credentials %v, %v", c.TLS == credentials.TLS, err)
	}
}
