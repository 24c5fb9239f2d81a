// Package events keeps what happened on a node: the lines of its console, with
// the time and a number each.
package events

import (
	"strings"
	"sync"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
)

// Log keeps the last events. Its methods are safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	limit   int
	kept    []api.Event
	next    uint64        // the number of the event to come
	changed chan struct{} // closed and replaced at each event
}

// New returns a log that keeps the last limit events.
func New(limit int) *Log {
	return &Log{limit: limit, next: 1, changed: make(chan struct{})}
}

// Add notes what happens now.
func (l *Log) Add(e api.ConsoleEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) == l.limit {
		l.kept = append(l.kept[:0], l.kept[1:]...)
	}
	l.kept = append(l.kept, api.Event{Number: l.next, Time: time.Now(), Kind: e.Kind, Subject: e.Name, Text: text(e)})
	l.next++
	close(l.changed)
	l.changed = make(chan struct{})
}

// text is the event's line on the console without what it begins with: the
// prefix, the kind and the subject.
func text(e api.ConsoleEvent) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(e.String(), api.ConsolePrefix), " ")
	if e.Name != "" {
		rest = strings.TrimPrefix(rest, e.Name+" ")
	}
	return rest
}

// Tail returns the last n events, oldest first (all that are kept for n < 0),
// the number of the event to come, and a channel that is closed when there is
// one. Times are by the clock of the moment of reading: what happened before a
// server told the time has the right one afterwards.
func (l *Log) Tail(n int) (events []api.Event, next uint64, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := 0
	if n >= 0 {
		from = max(0, len(l.kept)-n)
	}
	return onClock(l.kept[from:], time.Now()), l.next, l.changed
}

// Since returns the events from the number next on, as far as they are kept,
// and the rest as Tail does. A number that is not yet reached gives none.
func (l *Log) Since(next uint64) (events []api.Event, after uint64, more <-chan struct{}) {
	l.mu.Lock()
	var n uint64
	if next < l.next {
		n = min(l.next-next, uint64(len(l.kept)))
	}
	l.mu.Unlock()
	return l.Tail(int(n))
}

// onClock copies events, with times such that they lie as long before now as
// they did by the clock that is never set.
func onClock(events []api.Event, now time.Time) []api.Event {
	out := make([]api.Event, len(events))
	for i, e := range events {
		e.Time = now.Add(-now.Sub(e.Time)).Round(time.Millisecond)
		out[i] = e
	}
	return out
}
