package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
)

// steps turns what an installation does into what its listeners are told.
type steps struct {
	m        *machine
	disk     string
	progress func(api.InstallProgress)
	last     api.InstallProgress
}

func (m *machine) newSteps(r installRequest) *steps {
	s := &steps{m: m, progress: r.progress}
	if s.progress == nil {
		s.progress = func(api.InstallProgress) {}
	}
	return s
}

// at tells that a step is under way and how much of all is done. Nothing is told
// twice, and of one step no more than every tenth part.
func (s *steps) at(step string, percent int) {
	if step == s.last.Step && percent < s.last.Percent+10 {
		return
	}
	text := map[string]string{
		"fetch": "fetching the system", "erase": "erasing the partition table", "system": "writing the system",
		"verify": "reading the system back", "loader": "writing the boot loader", "state": "making an empty STATE",
		"table": "writing the partition table", api.InstallDone: "installed",
	}[step]
	s.last = api.InstallProgress{Step: step, Percent: percent, Message: s.disk + ": " + text}
	s.m.console.event(api.ConsoleEvent{Kind: api.EventInstall, Text: fmt.Sprintf("%s: %d %% %s", s.disk, percent, text)})
	s.progress(s.last)
}

// reporter tells the command line's URL how an installation goes on, as well as that
// can be done: nothing waits for an answer.
type reporter struct {
	lines chan string
	done  chan struct{}
}

// newReporter returns a reporter. Its finish must be called.
func (m *machine) newReporter(ctx context.Context) *reporter {
	r := &reporter{lines: make(chan string, 64), done: make(chan struct{})}
	address := m.cmdline.install.report
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	m.spawn(func() {
		defer close(r.done)
		for line := range r.lines {
			if address == "" {
				continue
			}
			if err := post(ctx, client, address, line); err != nil {
				m.log.Info("progress of the installation not reported", "error", err)
			}
		}
	})
	return r
}

// send reports one step in a line: "STEP PERCENT MESSAGE".
func (r *reporter) send(p api.InstallProgress) {
	line := fmt.Sprintf("%s %d %s", p.Step, p.Percent, strings.Join(strings.Fields(p.Message), " "))
	select {
	case r.lines <- line:
	default: // the server is slower than the disk
	}
}

// finish reports how it ended, and waits a while until that is told.
func (r *reporter) finish(p api.InstallProgress) {
	r.send(p)
	close(r.lines)
	select {
	case <-r.done:
	case <-time.After(15 * time.Second):
	}
}

func post(ctx context.Context, client *http.Client, address, line string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(line+"\n"))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
