package config

import (
	"testing"
	"time"
)

// 2026-11-28 is a Saturday.
func TestWindow(t *testing.T) {
	weekend := []string{"sat", "sun"}
	for _, tt := range []struct {
		w    Window
		at   string
		want bool
	}{
		{Window{}, "2026-11-25T12:00:00Z", true},
		{Window{Days: weekend}, "2026-11-28T00:00:00Z", true},
		{Window{Days: weekend}, "2026-11-27T23:59:59Z", false},
		{Window{Days: weekend}, "2026-11-28T01:00:00+02:00", false}, // still Friday in UTC
		{Window{From: "02:00", To: "05:00"}, "2026-11-25T01:59:59Z", false},
		{Window{From: "02:00", To: "05:00"}, "2026-11-25T02:00:00Z", true},
		{Window{From: "02:00", To: "05:00"}, "2026-11-25T04:59:59Z", true},
		{Window{From: "02:00", To: "05:00"}, "2026-11-25T05:00:00Z", false},
		{Window{From: "23:00", To: "01:00"}, "2026-11-25T22:59:00Z", false},
		{Window{From: "23:00", To: "01:00"}, "2026-11-25T23:30:00Z", true},
		{Window{From: "23:00", To: "01:00"}, "2026-11-25T00:30:00Z", true},
		{Window{Days: weekend, From: "23:00", To: "01:00"}, "2026-11-30T00:30:00Z", true},  // Sunday's
		{Window{Days: weekend, From: "23:00", To: "01:00"}, "2026-11-28T00:30:00Z", false}, // Friday's
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.w.Contains(at); got != tt.want {
			t.Errorf("%+v at %s: %v", tt.w, tt.at, got)
		}
	}
}

func TestUpdateDefaults(t *testing.T) {
	u := Default().Update
	if u.FollowedChannel() != "stable" || u.PollInterval() != 2*time.Hour || u.TrialTime() != 10*time.Minute {
		t.Errorf("%q, %v, %v", u.FollowedChannel(), u.PollInterval(), u.TrialTime())
	}
	u = Update{Channel: "beta", Interval: "3h", Trial: "90s"}
	if u.FollowedChannel() != "beta" || u.PollInterval() != 3*time.Hour || u.TrialTime() != 90*time.Second {
		t.Errorf("%q, %v, %v", u.FollowedChannel(), u.PollInterval(), u.TrialTime())
	}
}
