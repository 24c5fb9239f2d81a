package events

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
)

var _ interface {
	Tail(n int) ([]api.Event, uint64, <-chan struct{})
	Since(next uint64) ([]api.Event, uint64, <-chan struct{})
} = (*Log)(nil)

func numbers(events []api.Event) (first, last uint64, n int) {
	if len(events) == 0 {
		return 0, 0, 0
	}
	for i, e := range events {
		if e.Number != events[0].Number+uint64(i) {
			return 0, 0, -1
		}
	}
	return events[0].Number, events[len(events)-1].Number, len(events)
}

func TestTailAndSince(t *testing.T) {
	l := New(5)
	if got, next, _ := l.Tail(-1); len(got) != 0 || next != 1 {
		t.Errorf("an empty log: %v, %d", got, next)
	}
	for range 8 {
		l.Add(api.ConsoleEvent{Kind: api.EventProblem, Text: "x"})
	}
	tests := []struct {
		name        string
		get         func() ([]api.Event, uint64, <-chan struct{})
		first, last uint64
	}{
		{"all", func() ([]api.Event, uint64, <-chan struct{}) { return l.Tail(-1) }, 4, 8},
		{"two", func() ([]api.Event, uint64, <-chan struct{}) { return l.Tail(2) }, 7, 8},
		{"none", func() ([]api.Event, uint64, <-chan struct{}) { return l.Tail(0) }, 0, 0},
		{"more than there are", func() ([]api.Event, uint64, <-chan struct{}) { return l.Tail(100) }, 4, 8},
		{"since the beginning", func() ([]api.Event, uint64, <-chan struct{}) { return l.Since(0) }, 4, 8},
		{"since one that is gone", func() ([]api.Event, uint64, <-chan struct{}) { return l.Since(2) }, 4, 8},
		{"since one that is kept", func() ([]api.Event, uint64, <-chan struct{}) { return l.Since(6) }, 6, 8},
		{"since the next", func() ([]api.Event, uint64, <-chan struct{}) { return l.Since(9) }, 0, 0},
		{"since another boot's", func() ([]api.Event, uint64, <-chan struct{}) { return l.Since(1 << 63) }, 0, 0},
	}
	for _, tt := range tests {
		events, next, _ := tt.get()
		if first, last, n := numbers(events); first != tt.first || last != tt.last || n < 0 || next != 9 {
			t.Errorf("%s: %v, next %d, want %d to %d, next 9", tt.name, events, next, tt.first, tt.last)
		}
	}
}

func TestFollow(t *testing.T) {
	l := New(10)
	_, next, more := l.Tail(-1)
	select {
	case <-more:
		t.Fatal("woken by nothing")
	default:
	}
	l.Add(api.ConsoleEvent{Kind: api.EventRunning, Seconds: 2})
	<-more
	events, after, _ := l.Since(next)
	if len(events) != 1 || events[0].Kind != api.EventRunning || after != next+1 {
		t.Errorf("%v, after %d", events, after)
	}
	events[0].Text = "changed by the reader"
	if again, _, _ := l.Since(next); again[0].Text != "2.000s" {
		t.Errorf("the log holds %v", again)
	}
}

func TestText(t *testing.T) {
	tests := []struct {
		in            api.ConsoleEvent
		subject, text string
	}{
		{api.ConsoleEvent{Kind: api.EventStarted, Name: "0.1.0"}, "0.1.0", "started"},
		{api.ConsoleEvent{Kind: api.EventPhase, Name: "state", Seconds: 0.5}, "state", "ok 0.500s"},
		{api.ConsoleEvent{Kind: api.EventPhase, Name: "state", Text: "no disk"}, "state", "failed: no disk"},
		{api.ConsoleEvent{Kind: api.EventAddress, Name: "eth0", Text: "none"}, "eth0", "none"},
		{api.ConsoleEvent{Kind: api.EventService, Name: "k3s", Text: "backoff: exit status 1"}, "k3s", "backoff: exit status 1"},
		{api.ConsoleEvent{Kind: api.EventAPI, Seconds: 21.5}, "", "up 21.500s"},
		{api.ConsoleEvent{Kind: api.EventReady, Seconds: 30}, "", "30.000s"},
		{api.ConsoleEvent{Kind: api.EventNotReady, Seconds: 31, Text: "no network"}, "", "31.000s: no network"},
		{api.ConsoleEvent{Kind: api.EventProblem, Text: "DATA is full: delete images"}, "", "DATA is full: delete images"},
	}
	for _, tt := range tests {
		l := New(1)
		l.Add(tt.in)
		events, _, _ := l.Tail(-1)
		if e := events[0]; e.Kind != tt.in.Kind || e.Subject != tt.subject || e.Text != tt.text {
			t.Errorf("%+v: %+v, want subject %q, text %q", tt.in, e, tt.subject, tt.text)
		}
	}
}

func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, want := New(3), time.Now()
		l.Add(api.ConsoleEvent{Kind: api.EventRunning})
		time.Sleep(time.Hour)
		if events, _, _ := l.Tail(1); !events[0].Time.Equal(want) {
			t.Errorf("time %s, want %s", events[0].Time, want)
		}
	})
}
