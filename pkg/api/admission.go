package api

import (
	"context"
	"crypto/tls"
	"log/slog"

	"connectrpc.com/connect"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/api/machine/v1/machinev1connect"
	"github.com/digital-mycelium/os/pkg/identity"
)

// AdmissionConfig is what an issuer serves on AdmissionPort.
type AdmissionConfig struct {
	Verifier *identity.Verifier
	// Certificate returns the issuer key's own, which newcomers look for.
	Certificate func() (*tls.Certificate, error)
	// Admissible says whether a newcomer may be heard (identity.Issuer.Admissible).
	Admissible func(*identity.Request) error
	Admission  Admission
	Log        *slog.Logger
}

// NewAdmissionServer returns the server of an issuer: AdmissionService, for
// newcomers with an invite and for members.
func NewAdmissionServer(cfg AdmissionConfig) *Server {
	s := newServer(cfg.Verifier, cfg.Verifier.ServerTLS(identity.TLSOptions{
		Certificate: cfg.Certificate, Admit: cfg.Admissible, ExplainRefusals: true,
	}), cfg.Log)
	s.handle(machinev1connect.NewAdmissionServiceHandler(&admissionService{cfg.Admission, cfg.Log}, s.options()...))
	return s
}

// admissionService is AdmissionService.
type admissionService struct {
	admission Admission
	log       *slog.Logger
}

func (a *admissionService) Admit(ctx context.Context, r *connect.Request[machinev1.AdmitRequest]) (*connect.Response[machinev1.AdmitResponse], error) {
	request, err := identity.PeerRequest(callOf(ctx).peer)
	if err != nil {
		return nil, err
	}
	credential, k, err := a.admission.Admit(ctx, request)
	if err != nil {
		a.log.Warn("a newcomer was not admitted", "address", r.Peer().Addr, "error", err)
		return nil, err
	}
	return answer(&machinev1.AdmitResponse{
		Credential: credential, Members: each(k.Members, recordToWire),
		Rotations: k.Statements.Rotations, Revocations: k.Statements.Revocations,
	})
}

func (a *admissionService) Renew(ctx context.Context, r *connect.Request[machinev1.RenewRequest]) (*connect.Response[machinev1.RenewResponse], error) {
	credential, err := a.admission.Renew(callOf(ctx).peer, r.Msg.GetRequest())
	if err != nil {
		return nil, err
	}
	return answer(&machinev1.RenewResponse{Credential: credential})
}
