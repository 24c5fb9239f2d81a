package main

import (
	"slices"
	"testing"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/clock"
)

func TestTimeStatus(t *testing.T) {
	m := newMachine("test", time.Now())
	m.time.setSource(clock.RTC)
	s := m.timeStatus()
	if s.Source != clock.RTC || s.Server != "" || !s.Synced.IsZero() || !slices.Equal(s.Servers, defaultTimeServers()) {
		t.Errorf("before any answer: %+v", s)
	}
	at := time.Now().Add(-time.Minute)
	m.time.last = heard{server: "ntp.example.org", offset: -1500 * time.Millisecond, at: at}
	m.time.setSource(clock.NTP)
	s = m.timeStatus()
	if s.Source != clock.NTP || s.Server != "ntp.example.org" || s.Offset != -1.5 || !s.Synced.Equal(at) || time.Since(s.Now).Abs() > time.Minute {
		t.Errorf("after an answer: %+v", s)
	}
}
