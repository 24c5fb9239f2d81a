package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestHandler(t *testing.T) {
	env := map[string]string{"POD_NAME": "hello-1", "NODE_NAME": "node-1"}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	server := httptest.NewServer(handler(func(k string) string { return env[k] }, "host", func() time.Time { return now }))
	t.Cleanup(server.Close)

	var out bytes.Buffer
	if err := get(t.Context(), &out, []string{server.URL + "/"}); err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	if a.Pod != "hello-1" || a.Node != "node-1" || a.Name != "host" || !a.Time.Equal(now) {
		t.Errorf("answer %+v", a)
	}
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/other": http.StatusNotFound} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != want {
			t.Errorf("%s: %d, %v; want %d", path, resp.StatusCode, err, want)
		}
	}
	if err := get(t.Context(), io.Discard, []string{server.URL + "/other"}); err == nil {
		t.Error("get takes 404 for an answer")
	}
}

func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HELLO_TEST", "yes")
	written := filepath.Join(t.TempDir(), "w")
	tests := []struct {
		args   string
		status int
		out    string // part of the output
	}{
		{"cat " + file, 0, "content"},
		{"cat /no/such/file", 1, ""},
		{"env", 0, "HELLO_TEST=yes"},
		{"write " + written + " 2", 0, "wrote 2 MiB"},
		{"write " + written + " x", 1, ""},
		{"exit 7", 7, ""},
		{"exit 256", 2, ""},
		{"exit", 2, ""},
		{"get", 2, ""},
		{"nonsense", 2, ""},
		{"alloc x", 1, ""},
	}
	for _, tt := range tests {
		var out, errOut bytes.Buffer
		status := run(t.Context(), &out, &errOut, strings.Fields(tt.args))
		if status != tt.status || !strings.Contains(out.String(), tt.out) {
			t.Errorf("hello %s: status %d, output %q, errors %q", tt.args, status, &out, &errOut)
		}
		if status != 0 && tt.args != "exit 7" && errOut.Len() == 0 {
			t.Errorf("hello %s: failed without a word", tt.args)
		}
	}
	if info, err := os.Stat(written); err != nil || info.Size() != 2*mebibyte {
		t.Errorf("write left %v, %v", info, err)
	}
}

// watched is a writer that tells of each write.
type watched struct {
	bytes.Buffer
	wrote chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	defer func() { w.wrote <- struct{}{} }()
	return w.Buffer.Write(p)
}

func TestSIGTERMIsAGoodEnd(t *testing.T) {
	t.Setenv("ADDRESS", "127.0.0.1:0")
	for _, args := range [][]string{{"serve"}, {"alloc", "1"}, nil} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &watched{wrote: make(chan struct{}, 8)}
		ended := make(chan int, 1)
		go func() { ended <- run(ctx, out, io.Discard, args) }()
		<-out.wrote // it is at work
		cancel()
		if status := <-ended; status != 0 {
			t.Errorf("hello %v ended with %d", args, status)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if status := run(ctx, io.Discard, io.Discard, []string{"sleep"}); status != 0 {
		t.Errorf("sleep ended with %d", status)
	}
}
