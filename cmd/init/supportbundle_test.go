package main

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/digital-mycelium/os/cmd/init/internal/bundle"
	"github.com/digital-mycelium/os/cmd/init/internal/logs"
	"github.com/digital-mycelium/os/cmd/init/internal/redact"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
)

// unpack returns the files of a bundle.
func unpack(t *testing.T, b []byte) map[string]string {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "support-kitchen/")] = string(content)
	}
}

// TestSupportBundleHoldsNoSecret plants known and unknown secrets wherever text
// comes into a bundle, in several forms, and looks for them in all of it.
func TestSupportBundleHoldsNoSecret(t *testing.T) {
	const configured, token, unknown = "the configured key, 1 of 1", "5ad0c2e47b1f4a3c9d8e7f6a5b4c3d2e", "hunter2hunter2"
	planted := "x " + configured + " y " + token + " z " + base64.StdEncoding.EncodeToString([]byte("a"+token)) +
		" password=" + unknown + ` {"token":"` + unknown + `"} https://ann:` + unknown + "@example.org/ \n-----BEGIN PRIVATE KEY-----\n" + unknown + "\n-----END PRIVATE KEY-----\n"
	m := newMachine("test", time.Now())
	m.hostname = "kitchen"
	c := config.Default()
	c.Membership.Invite = configured
	c.Time.Servers = []string{planted}
	m.conf.Store(c)
	m.board.SetProblem("x", planted)
	m.board.Update(func(s *api.Status) {
		s.Kubernetes.Reason, s.Services = planted, []api.Service{{Name: planted, LastError: planted}}
	})
	m.console.event(api.ConsoleEvent{Kind: api.EventProblem, Text: planted})
	m.time.last = heard{server: planted, at: time.Now()}
	for _, name := range []string{"kernel", "init", "k3s"} {
		fmt.Fprintln(m.logs.Get(name), planted)
	}
	m.log.Error("failed", "error", errors.New(planted))
	path := filepath.Join(t.TempDir(), "file")
	writeTree(t, filepath.Dir(path), map[string]string{"file": planted, "k3s-token": token + "\n"})

	sections := m.bundleSections()
	sections = append(
		sections, fileSection("planted/file", path),
		bundle.Section{Name: "planted/output", Collect: m.outputOf("/bin/cat", path)},
		bundle.Section{Name: "planted/error", Collect: m.outputOf("/bin/sh", "-c", "cat "+path+" >&2; exit 3")},
	)
	secrets := append(m.secrets(), readSecrets([]string{filepath.Join(filepath.Dir(path), "*token")})...)
	var out bytes.Buffer
	if err := bundle.Write(t.Context(), &out, "support-kitchen", sections, redact.New(secrets)); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, out.Bytes())
	holders := []string{"status.json", "time.json", "events.txt", "configuration.yaml", "metrics.txt", "logs/kernel.log", "logs/init.log", "logs/k3s.log", "planted/file", "planted/output", "planted/error"}
	for name, text := range files {
		for _, secret := range []string{configured, token, unknown, base64.RawStdEncoding.EncodeToString([]byte("a" + token))[2:40]} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %q:\n%s", name, secret, text)
			}
		}
		if i := slices.Index(holders, name); i >= 0 && strings.Contains(text, redact.Mark) {
			holders = slices.Delete(holders, i, i+1)
		}
	}
	if len(holders) > 0 {
		t.Errorf("nothing was planted, or all was lost, in %q", holders)
	}
	for _, name := range []string{"versions.txt", "processes.txt", "proc/mountinfo", "proc/meminfo", "proc/cmdline", "network/state.txt", "errors.txt"} {
		if files[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	if !strings.Contains(files["errors.txt"], "planted/error: exit status 3") || !strings.Contains(files["errors.txt"], "kubernetes/nodes.txt: this node has no access") {
		t.Errorf("errors.txt: %q", files["errors.txt"])
	}
	for _, link := range []string{"link lo index 1 ", "address 127.0.0.1/8 dev lo "} {
		if !strings.Contains(files["network/state.txt"], link) {
			t.Errorf("network/state.txt has no %q: %s", link, files["network/state.txt"])
		}
	}
}

func TestSupportBundle(t *testing.T) {
	m := newMachine("1.2.3", time.Now())
	m.hostname = "kitchen"
	var out bytes.Buffer
	if err := m.supportBundle(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if files := unpack(t, out.Bytes()); !strings.HasPrefix(files["versions.txt"], "OS 1.2.3\n") || !strings.Contains(files["status.json"], `"version": "1.2.3"`) {
		t.Errorf("%q", files)
	}
}

// liveMemory is a writer that measures how much memory is in use.
type liveMemory struct{ before, most uint64 }

func (l *liveMemory) Write(p []byte) (int, error) {
	l.most = max(l.most, heap())
	return len(p), nil
}

func heap() uint64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func TestSupportBundleNeedsLittleMemory(t *testing.T) {
	m := newMachine("test", time.Now())
	noise := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"kernel", "k3s", "a", "b", "c", "d"} {
		for range logs.RingSize / 100 {
			fmt.Fprintf(m.logs.Get(name), "%0100x\n", noise.Uint64())
		}
	}
	if err := m.supportBundle(t.Context(), io.Discard); err != nil { // compiles the patterns, which stay
		t.Fatal(err)
	}
	l := &liveMemory{before: heap()}
	if err := m.supportBundle(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if l.most == 0 || l.most > l.before+4<<20 {
		t.Errorf("%d KiB before, up to %d KiB while the bundle is written", l.before>>10, l.most>>10)
	}
}

func TestLimitedBuffer(t *testing.T) {
	var b limitedBuffer
	for _, n := range []int{10, bundle.MaxText, 5} {
		if got, err := b.Write(make([]byte, n)); got != n || err != nil {
			t.Errorf("%d of %d, %v", got, n, err)
		}
	}
	if b.Len() != bundle.MaxText+1 {
		t.Errorf("%d bytes kept", b.Len())
	}
}

// TestConfigSecrets sets every config.Secret that there is and expects to find it.
func TestConfigSecrets(t *testing.T) {
	c := config.Default()
	var want []string
	var set func(v reflect.Value)
	set = func(v reflect.Value) {
		for i := range v.NumField() {
			switch f := v.Field(i); {
			case f.Type() == reflect.TypeFor[config.Secret]():
				want = append(want, fmt.Sprintf("secret %d", len(want)))
				f.SetString(want[len(want)-1])
			case f.Kind() == reflect.Struct:
				set(f)
			}
		}
	}
	set(reflect.ValueOf(c).Elem())
	if got := configSecrets(reflect.ValueOf(c)); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	deep := struct {
		List []any
		Map  map[string]*config.Secret
	}{[]any{config.Secret("a"), nil}, map[string]*config.Secret{"x": new(config.Secret), "y": nil}}
	*deep.Map["x"] = "b"
	if got := configSecrets(reflect.ValueOf(deep)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
}

func TestReadSecrets(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"a.key": "one", "b.key": "two", "large.key": strings.Repeat("x", maxSecretFile+1), "c.crt": "public", "d.key/e": "three"})
	if got := readSecrets([]string{dir + "/*.key", dir + "/none/*", dir + "/d.key/e"}); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("%q", got)
	}
}
