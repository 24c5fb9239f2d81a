package api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

// The reasons for which a node refuses or fails, for errors.Is, on both sides
// of a call. The reasons of package identity come across as well.
var (
	ErrNotFound = errors.New("not found")
	// ErrNotYet: it will be there later.
	ErrNotYet = errors.New("not yet")
	// ErrFull: the disk is.
	ErrFull = errors.New("disk full")
	// ErrInvalid: what the caller sent is wrong.
	ErrInvalid = errors.New("invalid")
	// ErrNotIssuer: only an issuer can do this.
	ErrNotIssuer = errors.New("not an issuer")
	// ErrConflict: the node's state does not allow it.
	ErrConflict = errors.New("conflict")
)

// reasonHeader names the reason of an error in its metadata: HTTP headers of a
// unary answer, the end of a stream.
const reasonHeader = "Mycelium-Reason"

// reasons are the errors that keep their identity on the wire. The code is for
// what the caller asked; when the caller's own certificate is the matter, it is
// refusal's.
var reasons = []struct {
	name string
	err  error
	code connect.Code
}{
	{"not-found", ErrNotFound, connect.CodeNotFound},
	{"not-yet", ErrNotYet, connect.CodeUnavailable},
	{"full", ErrFull, connect.CodeResourceExhausted},
	{"invalid", ErrInvalid, connect.CodeInvalidArgument},
	{"not-issuer", ErrNotIssuer, connect.CodeFailedPrecondition},
	{"conflict", ErrConflict, connect.CodeFailedPrecondition},
	{"malformed", identity.ErrMalformed, connect.CodeInvalidArgument},
	{"signature", identity.ErrSignature, connect.CodeInvalidArgument},
	{"wrong-network", identity.ErrWrongNetwork, connect.CodeInvalidArgument},
	{"untrusted-root", identity.ErrUntrustedRoot, connect.CodeInvalidArgument},
	{"retired-root", identity.ErrRetiredRoot, connect.CodeFailedPrecondition},
	{"delegation", identity.ErrDelegation, connect.CodeFailedPrecondition},
	{"not-yet-valid", identity.ErrNotYetValid, connect.CodeFailedPrecondition},
	{"expired", identity.ErrExpired, connect.CodeFailedPrecondition},
	{"revoked", identity.ErrRevoked, connect.CodeFailedPrecondition},
	{"role", identity.ErrRole, connect.CodePermissionDenied},
	{"not-member", identity.ErrNotMember, connect.CodeUnauthenticated},
	{"wrong-peer", identity.ErrWrongPeer, connect.CodeFailedPrecondition},
	{"invite", identity.ErrInvite, connect.CodePermissionDenied},
	{"rollback", identity.ErrRollback, connect.CodeFailedPrecondition},
	{"state", identity.ErrState, connect.CodeInternal},
}

// toWire returns err in the form in which it reaches the caller.
func toWire(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*connect.Error)):
		return err
	case errors.As(err, new(config.Errors)):
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return withReason(r.code, r.name, err)
		}
	}
	return connect.NewError(connect.CodeInternal, err)
}

// refusal returns a judgement of the caller's certificate in the form in which it
// reaches the caller.
func refusal(err error) *connect.Error {
	code := connect.CodeUnauthenticated
	if errors.Is(err, identity.ErrRole) || errors.Is(err, identity.ErrInvite) {
		code = connect.CodePermissionDenied
	}
	return withReason(code, reasonOf(err), err)
}

func withReason(code connect.Code, reason string, err error) *connect.Error {
	e := connect.NewError(code, err)
	if reason != "" {
		e.Meta().Set(reasonHeader, reason)
	}
	return e
}

// reasonOf returns the name of the first reason that err wraps, or "".
func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return ""
}

// CallError is a node's refusal or failure. It wraps its reason when it has one
// of this package or of package identity.
type CallError struct {
	// Code is Connect's, such as "permission_denied".
	Code string
	// Message is the node's own words.
	Message string
	reason  error
}

func (e *CallError) Error() string { return "the node answered: " + e.Message }

func (e *CallError) Unwrap() error { return e.reason }

// fromWire returns what a client's caller gets for an error of package connect.
func fromWire(err error) error {
	var wire *connect.Error
	if !errors.As(err, &wire) {
		return err
	}
	if !connect.IsWireError(err) {
		return explainTransport(wire.Unwrap())
	}
	e := &CallError{Code: wire.Code().String(), Message: wire.Message()}
	name := wire.Meta().Get(reasonHeader)
	for _, r := range reasons {
		if r.name == name {
			e.reason = r.err
		}
	}
	return e
}

// explainTransport adds what to do to an alert of the other end. Package tls
// has no type for these.
func explainTransport(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "remote error: tls: certificate required"):
		return fmt.Errorf("%w: the node belongs to a network and talks to its members alone", err)
	case strings.Contains(text, "remote error: tls: bad certificate"), strings.Contains(text, "client conn could not be established"): // the second hides the first
		return fmt.Errorf("%w: the node does not accept who calls: see whether both are of the same network", err)
	}
	return err
}
