package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestPollReportsLastState(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	calls := 0
	err := Poll(ctx, "rain", func(context.Context) (bool, string, error) {
		if calls++; calls == 2 {
			cancel(errors.New("drought"))
		}
		return false, "dry", errors.New("no cloud")
	})
	for _, want := range []string{"rain", "dry", "no cloud", "drought"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestPollEnds(t *testing.T) {
	calls := 0
	err := Poll(t.Context(), "three", func(context.Context) (bool, string, error) {
		calls++
		return calls == 3, "", nil
	})
	if err != nil || calls != 3 {
		t.Errorf("after %d calls: %v", calls, err)
	}
}
