package main

import (
	"time"

	"github.com/digital-mycelium/os/pkg/api"
)

// heard is the last answer of a time server that the clock was set by.
type heard struct {
	server string
	offset time.Duration // what the clock was behind; negative when it was ahead
	at     time.Time     // by the clock as the answer set it
}

// timeStatus says how the node keeps its time.
func (m *machine) timeStatus() api.TimeStatus {
	s, _ := m.board.Get()
	status := m.time.status()
	status.TimeInfo = api.TimeInfo{Now: time.Now(), Source: s.Time.Source}
	return status
}

// status returns whom the timekeeper asks and what it last heard.
func (t *timekeeper) status() api.TimeStatus {
	servers := t.servers()
	t.mu.Lock()
	defer t.mu.Unlock()
	return api.TimeStatus{
		Server: t.last.server, Offset: t.last.offset.Seconds(), Synced: t.last.at.Round(0), Servers: servers,
	}
}
