package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/dashboard"
	"github.com/digital-mycelium/os/pkg/api"
)

func newDashboardCommand() *cobra.Command {
	var flags nodeFlags
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Watch all nodes on the whole screen",
		Long: `Watch all nodes on the whole screen: how they are, and the logs, events and
processes of the one that is chosen. The keys stand at the bottom; q leaves it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !isTerminal(cmd.InOrStdin()) || !isTerminal(cmd.OutOrStdout()) {
				return errNoTerminal
			}
			fl, nodes, err := flags.all(cmd)
			if err != nil {
				return err
			}
			return dashboard.Run(cmd.Context(), newWatched(fl, nodes), dashboard.Options{
				In: cmd.InOrStdin(), Out: cmd.OutOrStdout(), ASCII: !unicodeTerminal(),
			})
		},
	}
	flags.register(cmd)
	return cmd
}

var errNoTerminal = errors.New("the dashboard needs a terminal: \"mycelium node list\" shows the same as text")

// unicodeTerminal says whether the terminal shows more than ASCII (locale(7)).
func unicodeTerminal() bool {
	for _, v := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if s := os.Getenv(v); s != "" {
			s = strings.ToLower(s)
			return strings.Contains(s, "utf-8") || strings.Contains(s, "utf8")
		}
	}
	return false
}

// watched is a fleet as the dashboard sees it. Each node's client is kept, so
// that its streams share a connection.
type watched struct {
	fleet *fleet
	nodes map[string]nodeRef
	list  []dashboard.Node

	mu      sync.Mutex
	clients map[string]nodeClient
}

func newWatched(fl *fleet, nodes []nodeRef) *watched {
	w := &watched{fleet: fl, nodes: map[string]nodeRef{}, clients: map[string]nodeClient{}}
	for _, n := range nodes {
		id := strings.Join(n.Addresses, " ")
		if n.known() {
			id = n.Key.String()
		}
		w.nodes[id] = n
		w.list = append(w.list, dashboard.Node{ID: id, Name: n.Name, Role: n.Role})
	}
	return w
}

func (w *watched) Name() string            { return w.fleet.name }
func (w *watched) Nodes() []dashboard.Node { return w.list }

func (w *watched) client(ctx context.Context, id string) (nodeClient, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.clients[id]; c != nil {
		return c, nil
	}
	c, err := w.fleet.client(ctx, w.nodes[id])
	if err == nil {
		w.clients[id] = c
	}
	return c, err
}

// WatchStatus implements dashboard.Source. When it ends the node may be at
// another of its addresses.
func (w *watched) WatchStatus(ctx context.Context, id string, f func(*api.Status) error) error {
	c, err := w.client(ctx, id)
	if err != nil {
		return err
	}
	err = c.WatchStatus(ctx, f)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.clients, id)
	return err
}

func (w *watched) Log(ctx context.Context, id, name string, tail int) (io.ReadCloser, error) {
	c, err := w.client(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.Log(ctx, name, api.LogOptions{Follow: true, Tail: tail})
}

func (w *watched) Events(ctx context.Context, id string, f func(api.Event) error) error {
	c, err := w.client(ctx, id)
	if err != nil {
		return err
	}
	return c.Events(ctx, api.EventOptions{Follow: true}, f)
}

func (w *watched) Processes(ctx context.Context, id string) ([]api.Process, error) {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	c, err := w.client(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.Processes(ctx)
}
