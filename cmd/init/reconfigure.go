package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/digital-mycelium/os/cmd/init/internal/source"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/durable"
)

// configuration returns the document that counts, secrets replaced, and in words
// where it comes from. It is what the next boot runs with: what of it waits for
// that is among the status' problems.
func (m *machine) configuration() (document []byte, source string, err error) {
	m.taking.Lock()
	defer m.taking.Unlock()
	document, err = m.choice.Config.DisplayDocument()
	s, _ := m.board.Get()
	return document, s.Configuration, err
}

// applyConfiguration makes document the node's, durably: in place of those that
// it was given, until one of them changes. A secret that stands there as
// configuration shows it stays as it is. It returns what changes;
// config.NeedsReboot says whether some of it waits. A dry run changes nothing.
// The error for a wrong document is of type config.Errors.
func (m *machine) applyConfiguration(ctx context.Context, document []byte, dryRun bool) ([]config.Change, error) {
	return m.setConfig(ctx, setConfigPath, document, dryRun)
}

// setConfig is applyConfiguration with a place to keep the document.
func (m *machine) setConfig(ctx context.Context, path string, document []byte, dryRun bool) ([]config.Change, error) {
	m.taking.Lock()
	defer m.taking.Unlock()
	c, err := config.ParseUpdate(document, m.choice.Config)
	if err != nil {
		return nil, err
	}
	if dryRun {
		return config.Compare(m.config(), c), nil
	}
	if err := ctx.Err(); err != nil { // whoever asked has given up
		return nil, err
	}
	set, err := newSet(m.sources, c)
	if err != nil {
		return nil, err
	}
	b, err := set.Encode()
	if err != nil {
		return nil, fmt.Errorf("keep the configuration: %w", err)
	}
	if err := durable.WriteFile(path, b, 0o600); err != nil {
		return nil, fmt.Errorf("keep the configuration: %w: nothing was changed", err)
	}
	m.set = &set
	m.endFetch()
	// What was wrong with the other places does not count any more.
	m.board.ClearProblem(fetchProblem)
	m.board.ClearProblem("phase/config")
	return m.takeRunning(source.Choose(m.sources, m.set)), nil
}

// newSet returns what is kept of c: its own document, for the one that was given
// need not hold the secrets. The next boot can read it.
func newSet(sources []source.Candidate, c *config.Config) (source.Set, error) {
	document, err := c.Document()
	if err == nil {
		_, err = config.Parse(document)
	}
	if err != nil {
		return source.Set{}, fmt.Errorf("keep the configuration: %w", err)
	}
	return source.NewSet(sources, document), nil
}

// takeRunning runs with what a running node can take of the choice, says what
// waits for the next boot, and returns what changes in all. The caller holds
// m.taking.
func (m *machine) takeRunning(choice source.Choice) []config.Change {
	m.choice = choice
	changes := config.Compare(m.config(), choice.Config)
	m.conf.Store(config.Applied(m.config(), choice.Config))
	waiting := slices.DeleteFunc(slices.Clone(changes), func(c config.Change) bool { return !c.Reboot })
	m.log.Info("configuration changed", "source", choice.Name, "error", choice.Err, "changes", fieldNames(changes), "after_reboot", fieldNames(waiting))
	m.showSource(choice.String())
	if len(waiting) > 0 {
		m.board.SetProblem("config/reboot", fmt.Sprintf("reboot to apply the new configuration from %s: %s", choice, fieldNames(waiting)))
	} else {
		m.board.ClearProblem("config/reboot")
	}
	wireless := false
	for _, change := range changes {
		if strings.HasPrefix(change.Field, "update.") && m.updates != nil {
			m.updates.Wake()
		}
		switch change.Field {
		case "network.wifi.country", "network.wifi.networks":
			wireless = true
		case "time.servers":
			m.time.hurry()
		case "kubernetes.labels":
			m.restartServices("the node's labels changed")
		}
	}
	if wireless {
		m.rejoin()
	}
	return changes
}
