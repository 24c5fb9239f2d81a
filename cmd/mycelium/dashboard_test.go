package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
)

// TestWatched: the dashboard sees what the nodes say.
func TestWatched(t *testing.T) {
	f := newFarm(t, 2)
	cmd := newDashboardCommand()
	cmd.SetContext(t.Context())
	flags := &nodeFlags{}
	fl, nodes, err := flags.all(cmd)
	if err != nil {
		t.Fatal(err)
	}
	w := newWatched(fl, nodes)
	list := w.Nodes()
	if len(list) != 2 || list[0].Name != "node-1" || list[0].Role != "server" || w.Name() != "home" {
		t.Fatalf("nodes %v", list)
	}
	id := list[1].ID
	enough := errors.New("enough")

	times := 0
	err = w.WatchStatus(t.Context(), id, func(s *api.Status) error {
		if times++; times == 1 {
			f.nodes[1].change(func(s *api.Status) { s.Phase = "changed" })
		}
		if s.Phase == "changed" {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("status: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log, err := w.Log(ctx, id, "k3s", 1)
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("second\n"))
	if _, err := io.ReadFull(log, line); err != nil || string(line) != "second\n" {
		t.Errorf("log: %q, %v", line, err)
	}
	cancel()
	log.Close()
	err = w.Events(t.Context(), id, func(e api.Event) error {
		if strings.Contains(e.Text, "cleared") {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("events: %v", err)
	}
	if list, err := w.Processes(t.Context(), id); err != nil || len(list) != 2 {
		t.Errorf("processes: %v, %v", list, err)
	}
	f.nodes[1].stop()
	if err := w.WatchStatus(t.Context(), id, func(*api.Status) error { return nil }); err == nil {
		t.Error("a node that is off is watched")
	}
}

func TestUnicodeTerminal(t *testing.T) {
	for _, tc := range []struct {
		all, lang string
		want      bool
	}{{"", "de_DE.UTF-8", true}, {"", "C.utf8", true}, {"C", "de_DE.UTF-8", false}, {"", "", false}, {"", "POSIX", false}} {
		t.Setenv("LC_ALL", tc.all)
		t.Setenv("LC_CTYPE", "")
		t.Setenv("LANG", tc.lang)
		if got := unicodeTerminal(); got != tc.want {
			t.Errorf("LC_ALL=%s LANG=%s: %v", tc.all, tc.lang, got)
		}
	}
}
