package api

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"connectrpc.com/connect"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/api/machine/v1/machinev1connect"
	"github.com/digital-mycelium/os/pkg/identity"
)

// NewEnrolmentServer returns the server of a node that belongs to no network:
// EnrolmentService, for anybody. What it shows is a self-signed certificate of
// key, which is what callers compare.
func NewEnrolmentServer(key identity.PrivateKey, e Enrolment, log *slog.Logger) (*Server, error) {
	cert, err := identity.PlainCertificate(key)
	if err != nil {
		return nil, err
	}
	s := newServer(nil, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true}, log)
	l := usualLimits
	l.sessions, l.message, l.idle, l.body = 16, 512<<10, l.header, l.header // for strangers
	s.setLimits(l)
	s.peer = func(_ tls.ConnectionState, c net.Conn) string { return sourceOf(c).String() }
	s.handle(machinev1connect.NewEnrolmentServiceHandler(&enrolmentService{enrolment: e, log: log}, s.options()...))
	return s, nil
}

// enrolmentService is EnrolmentService. It takes one grant.
type enrolmentService struct {
	enrolment Enrolment
	log       *slog.Logger

	mu   sync.Mutex
	done bool
}

var errEnrolled = fmt.Errorf("%w: this node was enrolled a moment ago: reset it before it can join another network", ErrConflict)

func (e *enrolmentService) Describe(_ context.Context, r *connect.Request[machinev1.DescribeRequest]) (*connect.Response[machinev1.DescribeResponse], error) {
	network, err := networkFromWire("network", r.Msg.GetNetwork())
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done {
		return nil, errEnrolled
	}
	d, err := e.enrolment.Describe(network)
	if err != nil {
		return nil, err
	}
	return answer(&machinev1.DescribeResponse{Request: d.Request, Name: d.Name, Version: d.Version, Board: d.Board})
}

// Enrol lets one caller at a time try.
func (e *enrolmentService) Enrol(ctx context.Context, r *connect.Request[machinev1.EnrolRequest]) (*connect.Response[machinev1.EnrolResponse], error) {
	grant, err := grantFromWire(r.Msg)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done {
		return nil, errEnrolled
	}
	if err := e.enrolment.Enrol(ctx, grant); err != nil {
		e.log.Warn("an enrolment failed", "address", r.Peer().Addr, "network", grant.Network.String(), "error", err)
		return nil, err
	}
	e.done = true
	e.log.Info("enrolled", "address", r.Peer().Addr, "network", grant.Network.String())
	return answer(&machinev1.EnrolResponse{})
}
