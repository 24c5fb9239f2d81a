package status

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
)

func TestProblems(t *testing.T) {
	b := New(api.Status{})
	steps := []struct {
		key, text string
		want      []string
		wakes     bool
	}{
		{"net", "no link", []string{"no link"}, true},
		{"net", "no link", []string{"no link"}, false},
		{"disk", "full", []string{"no link", "full"}, true},
		{"net", "no lease", []string{"no lease", "full"}, true},
		{"net", "", []string{"full"}, true},
		{"net", "", []string{"full"}, false},
		{"disk", "", nil, true},
	}
	for i, s := range steps {
		_, changed := b.Get()
		b.SetProblem(s.key, s.text)
		woke := false
		select {
		case <-changed:
			woke = true
		default:
		}
		got, _ := b.Get()
		if !slices.Equal(got.Problems, s.want) || woke != s.wakes {
			t.Errorf("step %d: problems %q, woke %v, want %q, %v", i, got.Problems, woke, s.want, s.wakes)
		}
	}
}

func TestRefreshIsQuiet(t *testing.T) {
	b := New(api.Status{})
	_, changed := b.Get()
	b.Refresh(func(s *api.Status) { s.Memory.Total = 1 })
	select {
	case <-changed:
		t.Error("Refresh woke a watcher")
	default:
	}
	if s, _ := b.Get(); s.Memory.Total != 1 {
		t.Error("Refresh changed nothing")
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(api.Status{})
		go func() {
			time.Sleep(time.Second)
			b.Update(func(s *api.Status) { s.Name = "a" })
			time.Sleep(time.Second)
			b.Update(func(s *api.Status) { s.Name = "b" })
		}()
		begin := time.Now()
		if err := b.Wait(context.Background(), func(s api.Status) bool { return s.Name == "b" }); err != nil || time.Since(begin) != 2*time.Second {
			t.Errorf("waited %v: %v", time.Since(begin), err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := b.Wait(ctx, func(s api.Status) bool { return s.Name == "c" }); err == nil {
			t.Error("no error although the condition never came true")
		}
	})
}
