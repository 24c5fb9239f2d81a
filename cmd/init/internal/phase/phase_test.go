package phase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	ok := func(context.Context) error { return nil }
	bad := func(context.Context) error { return errors.New("no disk") }
	crash := func(context.Context) error { panic("oops") }
	tests := []struct {
		name   string
		phases []Phase
		want   []string
		err    string
	}{
		{"all well", []Phase{{"a", true, ok}, {"b", false, ok}}, []string{"a begins", "a 1s <nil>", "b begins", "b 1s <nil>"}, ""},
		{"one fails", []Phase{{"a", false, bad}, {"b", false, ok}}, []string{"a begins", "a 1s no disk", "b begins", "b 1s <nil>"}, ""},
		{"fatal", []Phase{{"a", true, bad}, {"b", false, ok}}, []string{"a begins", "a 1s no disk"}, "phase a: no disk"},
		{"panic", []Phase{{"a", false, crash}, {"b", false, ok}}, []string{"a begins", "a 1s panic: oops"}, "phase a: panic: oops"},
		{"none", nil, nil, ""},
	}
	for _, tt := range tests {
		clock := time.Unix(0, 0)
		now := func() time.Time { clock = clock.Add(time.Second); return clock }
		var got []string
		err := Run(context.Background(), tt.phases, now, func(r Result) {
			if r.Done {
				got = append(got, fmt.Sprintf("%s %gs %v", r.Name, r.Seconds, r.Err))
			} else {
				got = append(got, r.Name+" begins")
			}
		})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: reports %q, want %q", tt.name, got, tt.want)
		}
		if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
	}
}

func TestPanicHasStack(t *testing.T) {
	err := Run(context.Background(), []Phase{{"a", false, func(context.Context) error { panic(1) }}}, time.Now, func(Result) {})
	var p *PanicError
	if !errors.As(err, &p) || !strings.Contains(string(p.Stack), "TestPanicHasStack") {
		t.Errorf("got %v, want a PanicError with the stack", err)
	}
}
