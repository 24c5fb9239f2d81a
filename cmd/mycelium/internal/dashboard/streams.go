package dashboard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
	"github.com/digital-mycelium/os/pkg/api"
)

const (
	// retryPause is the time between two attempts to reach a node.
	retryPause = 2 * time.Second
	// processPause is the time between two lists of processes.
	processPause = 3 * time.Second
	// maxBatch bounds the lines that one message carries.
	maxBatch = 500
	// maxLine is the longest line of a log that is taken as one, in bytes.
	maxLine = 64 << 10
)

// streams call the nodes and send what they say to the program.
type streams struct {
	ctx    context.Context
	source Source
	send   func(tea.Msg)

	mu     sync.Mutex
	cancel context.CancelFunc // of the lower half's stream
}

// watch follows a node's status for as long as the dashboard runs.
func (s *streams) watch(id string) tea.Cmd {
	return func() tea.Msg {
		for {
			err := s.source.WatchStatus(s.ctx, id, func(status *api.Status) error {
				s.send(statusMsg{id: id, status: status})
				return nil
			})
			if s.ctx.Err() != nil {
				return nil
			}
			if err == nil {
				err = errors.New("the node ended the connection")
			}
			s.send(statusMsg{id: id, err: err})
			if !pause(s.ctx, retryPause) {
				return nil
			}
		}
	}
}

// open begins what the lower half shows and ends what it showed before.
func (s *streams) open(v view, generation int) tea.Cmd {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.cancel = cancel
	return func() tea.Msg {
		err := s.follow(ctx, v, func(m paneMsg) {
			m.generation = generation
			s.send(m)
		})
		if ctx.Err() != nil {
			return nil
		}
		return endedMsg{generation: generation, err: err}
	}
}

func (s *streams) follow(ctx context.Context, v view, send func(paneMsg)) error {
	switch v.pane {
	case eventsPane:
		return s.source.Events(ctx, v.id, func(e api.Event) error {
			send(paneMsg{lines: []string{eventLine(e)}})
			return nil
		})
	case processesPane:
		for {
			list, err := s.source.Processes(ctx, v.id)
			if err != nil {
				return err
			}
			send(paneMsg{processes: list})
			if !pause(ctx, processPause) {
				return nil
			}
		}
	}
	log, err := s.source.Log(ctx, v.id, v.log, maxLines)
	if err != nil {
		return err
	}
	defer log.Close()
	return readLines(log, func(lines []string) { send(paneMsg{lines: lines}) })
}

// readLines calls f with the lines of r, as many at once as are there.
func readLines(r io.Reader, f func([]string)) error {
	in := bufio.NewReaderSize(r, maxLine)
	var batch []string
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			batch = append(batch, plaintext.Line(string(trimEnd(line))))
		}
		if len(batch) > 0 && (err != nil || in.Buffered() == 0 || len(batch) == maxBatch) {
			f(batch)
			batch = nil
		}
		switch {
		case err == nil || errors.Is(err, bufio.ErrBufferFull): // a long line is cut into several
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

func trimEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}

func eventLine(e api.Event) string {
	subject := ""
	if e.Subject != "" {
		subject = " " + e.Subject
	}
	return plaintext.Line(fmt.Sprintf("%s  %s%s %s", e.Time.Local().Format("15:04:05"), e.Kind, subject, e.Text))
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
