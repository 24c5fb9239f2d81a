package api

import (
	"context"
	"time"

	"connectrpc.com/connect"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
)

// chunk is how many bytes of a log, a bundle or an image go into one message.
const chunk = 256 << 10

func (m *machineService) WatchStatus(ctx context.Context, _ *connect.Request[machinev1.WatchStatusRequest], stream *connect.ServerStream[machinev1.Status]) error {
	for {
		s, changed := m.node.Status()
		if err := stream.Send(statusToWire(s)); err != nil {
			return err
		}
		if err := wait(ctx, changed, m.server.limits.recheck); err != nil {
			return err
		}
		// Changes come in bursts.
		if err := wait(ctx, nil, m.server.limits.burst); err != nil {
			return err
		}
	}
}

// wait returns when something happens or d has passed; with an error when ctx ends,
// which says why.
func wait(ctx context.Context, something <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-something:
	case <-timer.C:
	}
	return nil
}

func (m *machineService) WatchEvents(ctx context.Context, r *connect.Request[machinev1.WatchEventsRequest], stream *connect.ServerStream[machinev1.Event]) error {
	n := -1
	if t := r.Msg.GetTail(); t > 0 {
		n = clampInt(t)
	}
	log := m.node.Events()
	events, next, more := log.Tail(n)
	for {
		for _, e := range events {
			if err := stream.Send(eventToWire(e)); err != nil {
				return err
			}
		}
		if !r.Msg.GetFollow() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-more:
		}
		events, next, more = log.Since(next)
	}
}

func (m *machineService) ReadLog(ctx context.Context, r *connect.Request[machinev1.ReadLogRequest], stream *connect.ServerStream[machinev1.ReadLogResponse]) error {
	log, err := m.node.Log(r.Msg.GetName())
	if err != nil {
		return err
	}
	n := -1
	if r.Msg.Tail != nil {
		n = clampInt(r.Msg.GetTail())
	}
	lines, position, more := log.Tail(n)
	for first := true; ; first = false {
		// The first message also says that there is such a log.
		for at := 0; at < len(lines) || first && at == 0; at += chunk {
			if err := stream.Send(&machinev1.ReadLogResponse{Lines: lines[at:min(at+chunk, len(lines))]}); err != nil {
				return err
			}
		}
		if !r.Msg.GetFollow() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-more:
		}
		lines, position, more = log.Since(position)
	}
}

// clampInt returns n as an int that is one on all machines.
func clampInt(n uint32) int { return int(min(n, 1<<31-1)) }
