package updates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/gate"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
)

const (
	// judgePause is between two looks at a node on trial.
	judgePause = 2 * time.Second
	// judgeSettled is how long nothing may be missing before the trial has passed.
	judgeSettled = 10 * time.Second
	// checkTimeout is how long one of the owner's checks may take.
	checkTimeout = 10 * time.Second
)

// judge passes the trial that runs once nothing is missing, or fails it when its
// time is over.
func (a *Agent) judge(ctx context.Context) {
	var before gate.Facts
	if err := readJSON(a.path(factsFile), &before); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.o.Log.Warn("how the node was before the update is not known: it is judged by less", "error", err)
	}
	state := a.updater.State()
	version := state.Slot(state.Running).Release.Version
	limit := a.o.Config().TrialTime()
	began, well := time.Now(), time.Time{}
	a.o.Event(fmt.Sprintf("%s is on trial in slot %s, for at most %s", version, state.Running, limit))
	for {
		missing := gate.Missing(before, a.o.Facts(ctx), a.failedChecks(ctx))
		if ctx.Err() != nil || !a.onTrial() { // it was given up or put off by hand: what is missing is so for that
			return
		}
		switch {
		case len(missing) > 0:
			well = time.Time{}
		case well.IsZero():
			well = time.Now()
		case time.Since(well) >= judgeSettled:
			err := a.pass(version)
			if err == nil {
				return
			}
			a.o.Log.Error("the trial has passed and cannot be made good", "error", err)
			missing = []string{err.Error()}
		}
		a.change(func(s *api.Update) {
			s.Trial = &api.UpdateTrial{Version: version, Waiting: missing, Deadline: a.o.Now().Add(limit - time.Since(began))}
		})
		if time.Since(began) > limit {
			if len(missing) == 0 { // it has just come right
				missing = []string{"it was well too late"}
			}
			if err := a.fail(fmt.Sprintf("not well within %s: %s", limit, strings.Join(missing, "; "))); err == nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(judgePause):
		}
	}
}

// pass makes the release that runs the one that is started from now on.
func (a *Agent) pass(version string) error {
	if err := a.updater.Pass(); err != nil {
		return err
	}
	if err := os.Remove(a.path(factsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.o.Log.Warn("facts", "error", err)
	}
	a.change(func(s *api.Update) { s.Trial = nil })
	a.publish()
	a.o.Event(version + " is good and stays")
	return nil
}

// fail gives the trial up and reboots into the old system.
func (a *Agent) fail(reason string) error {
	err := a.updater.Fail(reason)
	a.publish()
	a.o.Event("the trial has failed, rebooting into the old system: " + reason)
	if err != nil {
		a.o.Log.Error("the failed trial could not be noted", "error", err)
	}
	a.o.Reboot()
	return err
}

// failedChecks runs the owner's checks, all at once, and returns what failed.
func (a *Agent) failedChecks(ctx context.Context) []string {
	checks := a.o.Config().Checks
	results := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { results[i] = a.check(ctx, c) })
	}
	wg.Wait()
	var failed []string
	for i, err := range results {
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", checks[i].Name, err))
		}
	}
	return failed
}

func (a *Agent) check(ctx context.Context, c config.Check) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if c.TCP != "" {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", c.TCP)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.HTTP, nil)
	if err != nil {
		return err
	}
	resp, err := a.o.Servers.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("GET %s: %s", c.HTTP, resp.Status)
	}
	return nil
}
