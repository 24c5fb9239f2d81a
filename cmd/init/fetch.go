package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/source"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
)

// fetchPatience is how long the boot waits for the document at the command
// line's URL before services start with the defaults.
const fetchPatience = time.Minute

// fetchProblem is the problem of a failed phase fetch; it ends when the node has
// the document after all, or needs none any more.
const fetchProblem = "phase/fetch"

// fetchConfig gets the document at the command line's URL, when that is the one
// that counts, once the network is up with the defaults. Without an answer the
// boot goes on, and the node asks on when services have started.
func (m *machine) fetchConfig(ctx context.Context) error {
	if m.choice.Location == nil {
		return nil
	}
	l := *m.choice.Location
	background, end := context.WithCancel(ctx)
	m.endFetch = end
	if !m.choice.Fetch {
		if l.SHA256 == nil { // it may have changed since
			m.askOn = func() { m.refetch(background, l, "running with the document of an earlier boot") }
		}
		return nil
	}
	m.console.event(api.ConsoleEvent{Kind: api.EventConfiguration, Text: fmt.Sprintf("waiting for %s, at most %s", l, fetchPatience)})
	wait, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	doc, err := m.fetchUntil(wait, l, func(err error) bool {
		return !errors.Is(err, source.ErrDocument) // a wrong document does not get right by waiting
	})
	if err == nil {
		return m.takeAtBoot(ctx, l, doc)
	}
	const meanwhile = "running with the defaults, and asking on"
	m.askOn = func() { m.refetch(background, l, meanwhile) }
	return fmt.Errorf("%w: %s", err, meanwhile)
}

// refetch asks for the document while services run, until it is there or ctx
// ends, and takes it. meanwhile says what the node runs with.
func (m *machine) refetch(ctx context.Context, l source.Location, meanwhile string) {
	doc, err := m.fetchUntil(ctx, l, func(err error) bool {
		m.taking.Lock()
		defer m.taking.Unlock()
		away := !errors.Is(err, source.ErrDocument)
		if ctx.Err() == nil && (m.choice.Fetch || !away) { // with a document at hand, a server that is away is no problem
			m.board.SetProblem(fetchProblem, fmt.Sprintf("the configuration cannot be fetched: %v: %s", err, meanwhile))
		}
		return true
	})
	if err != nil {
		return
	}
	m.taking.Lock()
	defer m.taking.Unlock()
	if ctx.Err() != nil {
		return
	}
	m.board.ClearProblem(fetchProblem)
	m.takeRunning(m.fetched(l, doc))
}

// fetchUntil asks again and again, with longer and longer pauses, until there is
// a right document, again says no, or ctx ends; the error is the last attempt's.
func (m *machine) fetchUntil(ctx context.Context, l source.Location, again func(error) bool) ([]byte, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	last := fmt.Errorf("fetch %s: the node has no address yet: is a cable plugged in, and a DHCP server there?", l)
	for n := 1; ; n++ {
		if _, err := m.net.waitAddress(ctx, 0); err != nil {
			return nil, last
		}
		doc, err := source.Fetch(ctx, transport, l)
		if err == nil {
			return doc, nil
		}
		if ctx.Err() == nil || n == 1 { // else it is only that the time was up
			last = err
			m.log.Warn("configuration not fetched", "attempt", n, "error", err)
		}
		if !again(last) || !sleep(ctx, source.Backoff(n)) {
			return nil, last
		}
	}
}

// fetched keeps what l gave, and returns the choice that there is with it.
func (m *machine) fetched(l source.Location, doc []byte) source.Choice {
	if err := keepFetched(m.fetchedPath, l, doc); err != nil {
		m.log.Warn("the configuration is fetched again at the next boot", "error", err)
	}
	if i := slices.IndexFunc(m.sources, func(c source.Candidate) bool { return c.ID == l.ID() }); i >= 0 {
		m.sources[i].Document = doc
	}
	return source.Choose(m.sources, m.set)
}

// takeAtBoot runs with the fetched document before services start: the network
// begins anew if need be.
func (m *machine) takeAtBoot(ctx context.Context, l source.Location, doc []byte) error {
	m.choice = m.fetched(l, doc)
	changes := config.Compare(m.config(), m.choice.Config)
	m.log.Info("configuration fetched", "url", l.String(), "source", m.choice.Name, "error", m.choice.Err, "changes", fieldNames(changes))
	m.showSource(m.choice.String())
	if m.choice.Err != nil { // l's document sets nothing, and the next place's is wrong
		return fmt.Errorf("%w: running with the defaults", m.choice.Err)
	}
	anew := slices.ContainsFunc(changes, func(c config.Change) bool { return c.Field == "hostname" || c.Field == "network.interfaces" })
	if !anew {
		m.conf.Store(m.choice.Config)
		m.time.hurry()
		return nil
	}
	m.net.stop()
	m.conf.Store(m.choice.Config)
	if err := m.nameHost(); err != nil {
		return err
	}
	m.net.begin(ctx)
	if !m.net.waitSettled(ctx, addressPatience) {
		m.log.Warn("not every interface has an address yet: going on")
	}
	m.time.hurry()
	return m.net.writeResolv()
}
