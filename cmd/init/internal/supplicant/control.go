package supplicant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"
)

// Control is a connection to an interface's control socket. Its methods are not safe
// for concurrent use.
type Control struct {
	conn  *net.UnixConn
	local string
	// events are those that came while a reply was awaited.
	events []string
}

// replyTimeout is how long wpa_supplicant may take to answer.
const replyTimeout = 5 * time.Second

// maxMessage is the largest message that is read, in bytes.
const maxMessage = 16 << 10

// Dial connects to the control socket at path and asks for the events. The socket at
// local is created for the answers. The caller must Close.
func Dial(path, local string) (*Control, error) {
	if err := os.Remove(local); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make the socket for answers: %w", err)
	}
	conn, err := net.DialUnix("unixgram", &net.UnixAddr{Name: local, Net: "unixgram"}, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("connect to wpa_supplicant: %w", errors.Join(err, removeIfThere(local)))
	}
	c := &Control{conn: conn, local: local}
	if reply, err := c.Ask("ATTACH"); err != nil || strings.TrimSpace(reply) != "OK" {
		return nil, errors.Join(fmt.Errorf("ask wpa_supplicant for its events: it says %q", reply), err, c.Close())
	}
	return c, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Close ends the connection.
func (c *Control) Close() error { return errors.Join(c.conn.Close(), removeIfThere(c.local)) }

// Ask sends a command and returns the reply.
func (c *Control) Ask(command string) (string, error) {
	if _, err := c.conn.Write([]byte(command)); err != nil {
		return "", fmt.Errorf("ask wpa_supplicant: %w", err)
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(replyTimeout)); err != nil {
		return "", err
	}
	for {
		message, err := c.read()
		if err != nil {
			return "", fmt.Errorf("wpa_supplicant does not answer: %w", err)
		}
		if !strings.HasPrefix(message, "<") {
			return message, nil
		}
		c.events = append(c.events, message)
	}
}

// Event returns the next event. ok is false when none came within limit.
func (c *Control) Event(ctx context.Context, limit time.Duration) (event string, ok bool, err error) {
	if len(c.events) > 0 {
		event, c.events = c.events[0], c.events[1:]
		return event, true, nil
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return "", false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	message, err := c.read()
	switch {
	case ctx.Err() != nil:
		return "", false, ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("read wpa_supplicant's events: %w", err)
	}
	return message, true, nil
}

func (c *Control) read() (string, error) {
	buf := make([]byte, maxMessage)
	n, err := c.conn.Read(buf)
	return string(buf[:n]), err
}
