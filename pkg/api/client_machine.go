package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/config"
)

// Status asks what the node knows of itself.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	m, err := ask(ctx, c.machine().GetStatus, &machinev1.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	s := statusFromWire(m)
	return &s, nil
}

// WatchStatus calls f with the node's status now, after each change, and now and
// then without one, until ctx ends, the node goes away (io.EOF, or another
// error), or f returns an error, which it then returns.
func (c *Client) WatchStatus(ctx context.Context, f func(*Status) error) error {
	stream, err := c.machine().WatchStatus(ctx, connect.NewRequest(&machinev1.WatchStatusRequest{}))
	if err != nil {
		return fromWire(err)
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		s := statusFromWire(stream.Msg())
		if err := f(&s); err != nil {
			return err
		}
	}
	return streamEnd(stream.Err(), "the node's status")
}

// streamEnd says why a stream that goes on for ever has ended.
func streamEnd(err error, what string) error {
	if err == nil {
		err = io.EOF
	}
	return fmt.Errorf("follow %s: %w", what, fromWire(err))
}

// EventOptions choose a part of the events.
type EventOptions struct {
	// Follow waits for new events until the context ends.
	Follow bool
	// Tail is how many of the last events to begin with; 0 means all that the node has.
	Tail int
}

// Events calls f with the node's events. It returns nil after the last one, or
// with Follow as WatchStatus does.
func (c *Client) Events(ctx context.Context, opts EventOptions, f func(Event) error) error {
	stream, err := c.machine().WatchEvents(ctx, connect.NewRequest(&machinev1.WatchEventsRequest{Follow: opts.Follow, Tail: uint32(max(opts.Tail, 0))}))
	if err != nil {
		return fromWire(err)
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		if err := f(eventFromWire(stream.Msg())); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil || opts.Follow {
		return streamEnd(err, "the node's events")
	}
	return nil
}

// Processes lists the node's processes.
func (c *Client) Processes(ctx context.Context) ([]Process, error) {
	m, err := ask(ctx, c.machine().ListProcesses, &machinev1.ListProcessesRequest{})
	return each(m.GetProcesses(), processFromWire), err
}

// Time asks how the node keeps its time.
func (c *Client) Time(ctx context.Context) (TimeStatus, error) {
	m, err := ask(ctx, c.machine().GetTime, &machinev1.GetTimeRequest{})
	return timeFromWire(m), err
}

// Logs lists the names of the node's logs.
func (c *Client) Logs(ctx context.Context) ([]string, error) {
	m, err := ask(ctx, c.machine().ListLogs, &machinev1.ListLogsRequest{})
	return m.GetNames(), err
}

// Metrics returns the node's metrics, OpenMetrics 1.0 text.
func (c *Client) Metrics(ctx context.Context) (string, error) {
	m, err := ask(ctx, c.machine().GetMetrics, &machinev1.GetMetricsRequest{})
	return m.GetText(), err
}

// LogOptions choose a part of a log.
type LogOptions struct {
	// Follow keeps the log open for new lines until the context ends.
	Follow bool
	// Tail is how many of the last lines to begin with; 0 means all that the node has.
	Tail int
}

// Log opens the log name as text. The caller must close it.
func (c *Client) Log(ctx context.Context, name string, opts LogOptions) (io.ReadCloser, error) {
	request := &machinev1.ReadLogRequest{Name: name, Follow: opts.Follow}
	if opts.Tail > 0 {
		tail := uint32(opts.Tail)
		request.Tail = &tail
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.machine().ReadLog(ctx, connect.NewRequest(request))
	if err != nil {
		cancel()
		return nil, fromWire(err)
	}
	return openPieces(stream, cancel, (*machinev1.ReadLogResponse).GetLines)
}

// SupportBundle opens the node's support bundle, a tar.zst without secrets that
// is encrypted to the age recipients (age1..., at least one). The caller must
// close it; what was read counts only when io.EOF has followed.
func (c *Client) SupportBundle(ctx context.Context, recipients []string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.machine().GetSupportBundle(ctx, connect.NewRequest(&machinev1.GetSupportBundleRequest{Recipients: recipients}))
	if err != nil {
		cancel()
		return nil, fromWire(err)
	}
	return openPieces(stream, cancel, (*machinev1.GetSupportBundleResponse).GetData)
}

// pieces reads a stream of bytes.
type pieces[M any] struct {
	stream *connect.ServerStreamForClient[M]
	data   func(*M) []byte
	cancel context.CancelFunc
	rest   []byte
	err    error
}

// openPieces waits for the first piece, so that a refusal is the error of opening.
func openPieces[M any](stream *connect.ServerStreamForClient[M], cancel context.CancelFunc, data func(*M) []byte) (io.ReadCloser, error) {
	p := &pieces[M]{stream: stream, data: data, cancel: cancel}
	if p.next(); p.err != nil && !errors.Is(p.err, io.EOF) {
		_ = p.Close()
		return nil, p.err
	}
	return p, nil
}

func (p *pieces[M]) next() {
	if p.stream.Receive() {
		p.rest = p.data(p.stream.Msg())
		return
	}
	if p.err = io.EOF; p.stream.Err() != nil {
		p.err = fromWire(p.stream.Err())
	}
}

func (p *pieces[M]) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		p.next()
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// Close ends the stream. What the end of it says is not asked for any more.
func (p *pieces[M]) Close() error {
	p.cancel()
	_ = p.stream.Close()
	return nil
}

// LoadImage sends the container image archive r under the file name to the
// node's image store.
func (c *Client) LoadImage(ctx context.Context, file string, r io.Reader) error {
	_, err := send(ctx, c.machine().LoadImage,
		&machinev1.LoadImageRequest{Part: &machinev1.LoadImageRequest_Name{Name: file}}, r,
		func(b []byte) *machinev1.LoadImageRequest {
			return &machinev1.LoadImageRequest{Part: &machinev1.LoadImageRequest_Data{Data: b}}
		}, "the image archive "+file)
	return err
}

// RestartService restarts a supervised service.
func (c *Client) RestartService(ctx context.Context, name string) error {
	_, err := ask(ctx, c.machine().RestartService, &machinev1.RestartServiceRequest{Name: name})
	return err
}

// Reboot asks for an orderly reboot; it returns when the node has accepted.
func (c *Client) Reboot(ctx context.Context) error {
	_, err := ask(ctx, c.machine().Reboot, &machinev1.RebootRequest{})
	return err
}

// Shutdown asks for an orderly power-off; it returns when the node has accepted.
func (c *Client) Shutdown(ctx context.Context) error {
	_, err := ask(ctx, c.machine().Shutdown, &machinev1.ShutdownRequest{})
	return err
}

// Reset asks the node to wipe what scope says, and to reboot or power off; it
// returns when the node has accepted.
func (c *Client) Reset(ctx context.Context, scope ResetScope, shutdown bool) error {
	wire, err := scopeToWire(scope)
	if err != nil {
		return err
	}
	_, err = ask(ctx, c.machine().Reset, &machinev1.ResetRequest{Scope: wire, Shutdown: shutdown})
	return err
}

// Configuration returns the document that the node runs with (YAML, secrets
// replaced) and where it comes from, in words.
func (c *Client) Configuration(ctx context.Context) (document []byte, source string, err error) {
	m, err := ask(ctx, c.machine().GetConfiguration, &machinev1.GetConfigurationRequest{})
	return []byte(m.GetDocument()), m.GetSource(), err
}

// ApplyConfiguration makes document (YAML) the node's configuration, or with
// dryRun only asks what would change (ErrInvalid).
func (c *Client) ApplyConfiguration(ctx context.Context, document []byte, dryRun bool) ([]config.Change, error) {
	m, err := ask(ctx, c.machine().ApplyConfiguration, &machinev1.ApplyConfigurationRequest{Document: string(document), DryRun: dryRun})
	return each(m.GetChanges(), changeFromWire), err
}

// Kubeconfig fetches a kubeconfig without a user, whose server is the node's
// /kubernetes/.
func (c *Client) Kubeconfig(ctx context.Context) ([]byte, error) {
	m, err := ask(ctx, c.machine().GetKubeconfig, &machinev1.GetKubeconfigRequest{})
	return []byte(m.GetKubeconfig()), err
}
