package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

// fakeQEMU answers each command with the line that script has for it; %d in it
// is the command's id.
func fakeQEMU(t *testing.T, greeting string, script map[string]string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer func() { _ = theirs.Close() }()
		fmt.Fprintln(theirs, greeting)
		in := bufio.NewScanner(theirs)
		for in.Scan() {
			var request struct {
				Execute string
				ID      int
			}
			if json.Unmarshal(in.Bytes(), &request) != nil {
				return
			}
			answer, ok := script[request.Execute]
			if !ok {
				return // as if QEMU ended
			}
			fmt.Fprintln(theirs, strings.ReplaceAll(answer, "%d", fmt.Sprint(request.ID)))
		}
	}()
	return ours
}

const (
	qmpGreeting = `{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": []}}`
	qmpDone     = `{"return": {}, "id": %d}`
)

func TestMonitor(t *testing.T) {
	conn := fakeQEMU(t, qmpGreeting, map[string]string{
		"qmp_capabilities": qmpDone,
		"query-status":     `{"event": "RESET", "timestamp": {}}` + "\n" + `{"return": {"status": "running"}, "id": %d}`,
		"set_link":         `{"id": %d, "error": {"class": "DeviceNotFound", "desc": "Device 'x' not found"}}`,
		"stale":            `{"return": "another's", "id": 0}` + "\n" + `{"return": "ours", "id": %d}`,
	})
	ctx := t.Context()
	m, err := newMonitor(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()

	got, err := m.Execute(ctx, "query-status", nil)
	if err != nil || !strings.Contains(string(got), "running") {
		t.Fatalf("past an event: %s, %v", got, err)
	}
	var refusal *QMPError
	if _, err = m.Execute(ctx, "set_link", nil); !errors.As(err, &refusal) || refusal.Class != "DeviceNotFound" {
		t.Fatalf("refusal: %v", err)
	}
	if got, err = m.Execute(ctx, "stale", nil); err != nil || string(got) != `"ours"` {
		t.Fatalf("past another command's answer: %s, %v", got, err)
	}
	if _, err = m.Execute(ctx, "quit", nil); err == nil {
		t.Fatal("the end of QEMU is no error")
	}
}

func TestMonitorRefusesOthers(t *testing.T) {
	for _, greeting := range []string{`{"hello": "world"}`, `SSH-2.0-x`, ``} {
		if _, err := newMonitor(t.Context(), fakeQEMU(t, greeting, nil)); err == nil {
			t.Errorf("greeting %q was accepted", greeting)
		}
	}
}

func TestMonitorEndsWithContext(t *testing.T) {
	ours, theirs := net.Pipe() // nobody answers
	defer func() { _ = theirs.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := newMonitor(ctx, ours); err == nil {
		t.Fatal("no error from a monitor that says nothing")
	}
}

func FuzzParseQMP(f *testing.F) {
	f.Add([]byte(qmpGreeting))
	f.Add([]byte(`{"error": {"class": "x"}, "id": 1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if m, err := parseQMP(line); (m == nil) == (err == nil) {
			t.Fatalf("message %v and error %v", m, err)
		}
	})
}
