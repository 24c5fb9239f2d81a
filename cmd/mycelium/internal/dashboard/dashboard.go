// Package dashboard is a full-screen view of a network's nodes in a terminal:
// a table of all of them above, and the log, the events or the processes of the
// selected one below.
//
// The model is a pure function of the messages that it gets; what calls the
// nodes is in streams.go.
package dashboard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/digital-mycelium/os/pkg/api"
)

// Node is one node of the network.
type Node struct {
	// ID is what the Source knows it by.
	ID   string
	Name string
	Role string
}

// Source is the network. Its methods are called from several goroutines.
type Source interface {
	// Name is the network's.
	Name() string
	// Nodes returns the nodes that are known now.
	Nodes() []Node
	// WatchStatus calls f with the node's status now and after each change until
	// the context or the connection ends.
	WatchStatus(ctx context.Context, id string, f func(*api.Status) error) error
	// Log follows the log name from its last tail lines. The caller closes it.
	Log(ctx context.Context, id, name string, tail int) (io.ReadCloser, error)
	// Events calls f with the events that the node has and with those to come.
	Events(ctx context.Context, id string, f func(api.Event) error) error
	// Processes returns the node's processes now.
	Processes(ctx context.Context, id string) ([]api.Process, error)
}

// Options say where and how to draw.
type Options struct {
	In  io.Reader
	Out io.Writer
	// ASCII draws without characters beyond ASCII.
	ASCII bool
}

// Run shows the dashboard until the person quits or ctx ends. The terminal is as
// before then, also after a panic.
func Run(ctx context.Context, source Source, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &streams{ctx: ctx, source: source}
	m := newModel(source.Name(), source.Nodes(), s, time.Now, newStyle(o.ASCII))
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(o.In), tea.WithOutput(o.Out), tea.WithoutSignalHandler(), tea.WithFilter(sized))
	s.send = p.Send
	_, err := p.Run()
	if errors.Is(err, tea.ErrProgramPanic) {
		return fmt.Errorf("the dashboard has a fault: %w", err)
	}
	if ctx.Err() != nil { // interrupted, as good as quit
		return nil
	}
	return err
}

// sized takes a terminal that does not know its size, as one on a serial line,
// for one of the usual size.
func sized(_ tea.Model, msg tea.Msg) tea.Msg {
	if size, ok := msg.(tea.WindowSizeMsg); ok && (size.Width <= 0 || size.Height <= 0) {
		return tea.WindowSizeMsg{Width: usualWidth, Height: usualHeight}
	}
	return msg
}
