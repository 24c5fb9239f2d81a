package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
	"github.com/digital-mycelium/os/pkg/api"
)

// updateView is what "update status" reports of a node.
type updateView struct {
	Version string `json:"version"`
	Board   string `json:"board"`
	// Update is null on a machine that cannot be updated in place.
	Update *api.Update `json:"update"`
}

func newUpdateStatusCommand() *cobra.Command {
	return questionCommand("status", "Show which versions nodes run and hold, and how their updates went",
		func(ctx context.Context, c nodeClient) (updateView, error) {
			s, err := c.Status(ctx)
			if err != nil {
				return updateView{}, err
			}
			return updateView{s.Version, s.Board, s.Update}, nil
		}, writeUpdates)
}

// writeUpdates writes a table, and below it what is to be known of each node.
func writeUpdates(w io.Writer, answers []answer[updateView], _ bool) error {
	rows := [][]string{{"NODE", "VERSION", "STATE", "OTHER SLOT", "AVAILABLE", "NOW"}}
	for _, a := range answers {
		if a.err == nil {
			rows = append(rows, append([]string{a.Node}, updateRow(*a.Result)...))
		}
	}
	if len(rows) == 1 {
		return nil
	}
	if err := writeTable(w, rows); err != nil {
		return err
	}
	for _, a := range answers {
		if a.err != nil {
			continue
		}
		for _, line := range updateNotes(a.Result.Update) {
			if _, err := fmt.Fprintf(w, "%s: %s\n", plaintext.Line(a.Node), plaintext.Line(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

func updateRow(v updateView) []string {
	u := v.Update
	if u == nil {
		return []string{v.Version, "-", "-", "-", "cannot be updated in place"}
	}
	version, state := v.Version, "-"
	var slots []string
	for _, s := range u.Slots {
		if s.Running {
			version, state = cmp.Or(s.Version, version), s.Phase
			continue
		}
		slots = append(slots, strings.TrimSpace(s.Phase+" "+s.Version))
	}
	now, more := activityText(u.Activity)
	if more != "" {
		now += " " + more
	}
	if now == "" && u.Trial != nil {
		now = "on trial"
	}
	if now == "" && u.Hold {
		now = "held"
	}
	return []string{version, state, cmp.Or(strings.Join(slots, ", "), "-"), cmp.Or(u.Available, "-"), cmp.Or(now, "-")}
}

// updateNotes are what a row has no room for.
func updateNotes(u *api.Update) (out []string) {
	if u == nil {
		return nil
	}
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if t := u.Trial; t != nil {
		waiting := "nothing"
		if len(t.Waiting) > 0 {
			waiting = strings.Join(t.Waiting, ", ")
		}
		note("%s is on trial until %s, and waits for %s", t.Version, day(t.Deadline), waiting)
	}
	if n := len(u.Verdicts); n > 0 {
		v := u.Verdicts[n-1]
		text := "the last update, to " + v.Version + ", " + verdictText(v.Phase)
		if !v.Time.IsZero() {
			text += " on " + day(v.Time)
		}
		note("%s", strings.TrimSuffix(text+": "+v.Reason, ": "))
	}
	if u.Failure != "" {
		note("the last attempt came to nothing: %s", u.Failure)
	}
	for _, r := range u.Refused {
		note("%s is refused: %s", r.Version, cmp.Or(r.Reason, "no reason is known"))
	}
	if u.Hold {
		note("%s", strings.TrimSuffix("does not update by itself: "+u.HoldReason, ": "))
	}
	switch {
	case u.Server == "":
		note("no release server is configured: \"mycelium update push\" is the way to another version")
	case u.CheckError != "":
		note("%s does not answer: %s", u.Server, u.CheckError)
	}
	return out
}

func verdictText(phase string) string {
	switch phase {
	case "good":
		return "went well"
	case "bad":
		return "was taken back"
	case "staged":
		return "was put off"
	}
	return "is " + phase
}
