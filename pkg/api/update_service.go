package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

const (
	maxVersion = 64  // bytes of a version that a caller names
	maxReason  = 256 // bytes of a reason that a caller gives, which the node keeps
)

// updates returns what replaces the node's OS.
func (m *machineService) updates() (Updates, error) {
	if u := m.node.Updates(); u != nil {
		return u, nil
	}
	return nil, fmt.Errorf("%w: this machine cannot replace its OS: it was not started from a disk with slots for it; write a new image instead", ErrConflict)
}

// limited refuses a text that is longer than anything that makes sense.
func limited(what, text string, limit int) error {
	if len(text) > limit {
		return fmt.Errorf("%w: the %s has %d bytes, at most %d are taken", ErrInvalid, what, len(text), limit)
	}
	return nil
}

// updating calls f with what replaces the node's OS, unless the request was wrong.
func updating[T any](m *machineService, wrong error, f func(Updates) (*T, error)) (*connect.Response[T], error) {
	u, err := m.updates()
	if err != nil {
		return nil, err
	}
	if wrong != nil {
		return nil, wrong
	}
	res, err := f(u)
	if err != nil {
		return nil, err
	}
	return answer(res)
}

func (m *machineService) CheckUpdate(ctx context.Context, _ *connect.Request[machinev1.CheckUpdateRequest]) (*connect.Response[machinev1.CheckUpdateResponse], error) {
	return updating(m, nil, func(u Updates) (*machinev1.CheckUpdateResponse, error) {
		list, err := u.Check(ctx)
		return &machinev1.CheckUpdateResponse{Releases: each(list, availableToWire)}, err
	})
}

func (m *machineService) StageUpdate(ctx context.Context, r *connect.Request[machinev1.StageUpdateRequest]) (*connect.Response[machinev1.StageUpdateResponse], error) {
	version := r.Msg.GetVersion()
	return updating(m, limited("version", version, maxVersion), func(u Updates) (*machinev1.StageUpdateResponse, error) {
		staged, err := u.Stage(ctx, version, r.Msg.GetForce())
		return &machinev1.StageUpdateResponse{Version: staged}, err
	})
}

func (m *machineService) PushUpdate(ctx context.Context, stream *connect.ClientStream[machinev1.PushUpdateRequest]) (*connect.Response[machinev1.PushUpdateResponse], error) {
	first, err := firstOf(stream, "a statement")
	if err != nil {
		return nil, err
	}
	statement := first.GetStatement()
	if len(statement) == 0 {
		return nil, fmt.Errorf("%w: the upload begins without a statement: send one that a developer has signed, then data", ErrInvalid)
	}
	return updating(m, nil, func(u Updates) (*machinev1.PushUpdateResponse, error) {
		staged, err := u.Push(ctx, statement, &upload[machinev1.PushUpdateRequest]{
			stream: stream, what: "the OS file", limit: MaxOSFile,
			data: func(r *machinev1.PushUpdateRequest) ([]byte, bool) {
				_, ok := r.GetPart().(*machinev1.PushUpdateRequest_Data)
				return r.GetData(), ok
			},
		})
		return &machinev1.PushUpdateResponse{Version: staged}, err
	})
}

func (m *machineService) TryUpdate(ctx context.Context, _ *connect.Request[machinev1.TryUpdateRequest]) (*connect.Response[machinev1.TryUpdateResponse], error) {
	return updating(m, nil, func(u Updates) (*machinev1.TryUpdateResponse, error) {
		return &machinev1.TryUpdateResponse{}, u.Try(ctx)
	})
}

func (m *machineService) RollBackUpdate(_ context.Context, r *connect.Request[machinev1.RollBackUpdateRequest]) (*connect.Response[machinev1.RollBackUpdateResponse], error) {
	reason := r.Msg.GetReason()
	return updating(m, limited("reason", reason, maxReason), func(u Updates) (*machinev1.RollBackUpdateResponse, error) {
		return &machinev1.RollBackUpdateResponse{}, u.RollBack(reason)
	})
}

func (m *machineService) HoldUpdate(_ context.Context, r *connect.Request[machinev1.HoldUpdateRequest]) (*connect.Response[machinev1.HoldUpdateResponse], error) {
	reason := r.Msg.GetReason()
	return updating(m, limited("reason", reason, maxReason), func(u Updates) (*machinev1.HoldUpdateResponse, error) {
		return &machinev1.HoldUpdateResponse{}, u.Hold(r.Msg.GetHold(), reason)
	})
}

func (m *machineService) ForgiveUpdate(_ context.Context, r *connect.Request[machinev1.ForgiveUpdateRequest]) (*connect.Response[machinev1.ForgiveUpdateResponse], error) {
	version := r.Msg.GetVersion()
	return updating(m, limited("version", version, maxVersion), func(u Updates) (*machinev1.ForgiveUpdateResponse, error) {
		return &machinev1.ForgiveUpdateResponse{}, u.Forgive(version)
	})
}

// osFiles serves OS files to other nodes, at OSFilePath and their digest.
func osFiles(node Node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		delta.Handler(func(digest string) (io.ReadSeekCloser, time.Time, delta.PeerState, error) {
			none := delta.PeerState{Phase: delta.None}
			updates := node.Updates()
			if updates == nil {
				return nil, time.Time{}, none, nil
			}
			file, state, err := updates.File(digest)
			if err != nil || file == nil {
				return nil, time.Time{}, state, err
			}
			return &whileAllowed{r.Context(), file}, time.Time{}, state, nil
		}).ServeHTTP(w, r)
	})
}

// whileAllowed can be read until ctx ends, with which the reader's rights do.
type whileAllowed struct {
	ctx context.Context
	io.ReadSeekCloser
}

func (a *whileAllowed) Read(p []byte) (int, error) {
	if err := context.Cause(a.ctx); err != nil {
		return 0, err
	}
	return a.ReadSeekCloser.Read(p)
}
