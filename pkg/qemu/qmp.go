package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// maxQMPLine bounds one message of QEMU's; the longest that occur are some
// hundred kilobytes (schema queries).
const maxQMPLine = 4 << 20

// QMPError is QEMU's refusal of a command.
type QMPError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *QMPError) Error() string { return fmt.Sprintf("QEMU refused: %s (%s)", e.Desc, e.Class) }

// monitor is a connection to QEMU's machine protocol (QMP, QEMU documentation
// "QEMU Machine Protocol Specification"). One command runs at a time; events are
// dropped. It is safe for concurrent use; the caller must close it.
type monitor struct {
	mu   sync.Mutex
	conn net.Conn
	in   *bufio.Scanner
	next int
}

// qmpMessage is any message of QEMU's.
type qmpMessage struct {
	QMP    json.RawMessage `json:"QMP"`
	Event  string          `json:"event"`
	ID     *int            `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *QMPError       `json:"error"`
}

// newMonitor greets QEMU on conn and takes it over.
func newMonitor(ctx context.Context, conn net.Conn) (*monitor, error) {
	m := &monitor{conn: conn, in: bufio.NewScanner(conn)}
	m.in.Buffer(make([]byte, 0, 4096), maxQMPLine)
	stop := m.guard(ctx)
	greeting, err := m.read()
	stop()
	if err == nil && greeting.QMP == nil {
		err = errors.New("it did not greet as QEMU does")
	}
	if err == nil {
		_, err = m.Execute(ctx, "qmp_capabilities", nil)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("greet QEMU: %w", err), conn.Close())
	}
	return m, nil
}

// Close ends the connection.
func (m *monitor) Close() error { return m.conn.Close() }

// guard makes reads and writes end with ctx; the returned function ends that.
func (m *monitor) guard(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// Execute runs a command and returns what it returned. The connection is of no
// use any more after ctx has ended during a command.
func (m *monitor) Execute(ctx context.Context, command string, args any) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stop := m.guard(ctx)
	defer stop()
	m.next++
	request := struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        int    `json:"id"`
	}{command, args, m.next}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return nil, m.fail(ctx, command, err)
	}
	for {
		answer, err := m.read()
		if err != nil {
			return nil, m.fail(ctx, command, err)
		}
		if answer.Event != "" || answer.ID == nil || *answer.ID != m.next {
			continue
		}
		if answer.Error != nil {
			return nil, fmt.Errorf("QMP %s: %w", command, answer.Error)
		}
		return answer.Return, nil
	}
}

func (m *monitor) fail(ctx context.Context, command string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("QMP %s: %w", command, err)
}

func (m *monitor) read() (*qmpMessage, error) {
	if !m.in.Scan() {
		if err := m.in.Err(); err != nil {
			return nil, err
		}
		return nil, io.ErrUnexpectedEOF
	}
	return parseQMP(m.in.Bytes())
}

func parseQMP(line []byte) (*qmpMessage, error) {
	var message qmpMessage
	if err := json.Unmarshal(line, &message); err != nil {
		return nil, fmt.Errorf("read QEMU's message: %w", err)
	}
	return &message, nil
}
