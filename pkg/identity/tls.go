package identity

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// The extensions of the X.509 wrapper, in the experimental arc of the internet
// (1.3.6.1.3).
var (
	oidCredential = asn1.ObjectIdentifier{1, 3, 6, 1, 3, 9247, 1} // a member's credential
	oidRequest    = asn1.ObjectIdentifier{1, 3, 6, 1, 3, 9247, 2} // a newcomer's Request
)

const maxX509 = maxCredential + 1024 // bytes of the wrapper

// TLSCertificate wraps proof, which is a member's credential or a newcomer's
// encoded Request, in a self-signed X.509 certificate of key, whose public half
// proof must name (ErrSignature). Of the wrapper only the key and the proof
// count; it needs to be made anew when the proof is.
func TLSCertificate(key PrivateKey, proof []byte) (tls.Certificate, error) {
	var holder PublicKey
	oid := oidCredential
	if p, err := parseCredential(proof); err == nil {
		holder = p.cert.Key
	} else if r, rerr := Parse[Request](proof); rerr == nil {
		holder, oid = r.Key, oidRequest
	} else {
		return tls.Certificate{}, fmt.Errorf("make a TLS certificate: neither a credential (%w) nor a request (%w)", err, rerr)
	}
	if key.IsZero() || holder != key.Public() {
		return tls.Certificate{}, fmt.Errorf("make a TLS certificate: %w: the proof is for key %s, not for the one at hand", ErrSignature, holder)
	}
	signer := tlsSigner{key}
	template := x509Template()
	template.ExtraExtensions = []pkix.Extension{{Id: oid, Value: proof}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a TLS certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}, nil
}

// PlainCertificate returns a self-signed X.509 certificate of key for names, DNS
// names or IP addresses, that says nothing about membership: for who compares
// the key itself, or takes the certificate as an authority of its own. The same
// arguments give the same bytes, and it does not end by itself.
func PlainCertificate(key PrivateKey, names ...string) (tls.Certificate, error) {
	if key.IsZero() {
		return tls.Certificate{}, fmt.Errorf("make a TLS certificate: %w: there is no key", ErrSignature)
	}
	signer := tlsSigner{key}
	template := x509Template()
	public := key.Public()
	serial := public[:16]
	serial[0] &= 0x7f // a positive number (RFC 5280, 4.1.2.2)
	template.SerialNumber.SetBytes(serial)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a TLS certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}, nil
}

// x509Template says what all X.509 certificates of a key have in common.
func x509Template() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "Digital Mycelium"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280, 4.1.2.5: no end by itself
	}
}

// tlsSigner signs handshakes without showing the key to whoever prints a tls.Certificate.
type tlsSigner struct{ key PrivateKey }

func (s tlsSigner) Public() crypto.PublicKey { return s.key.ed25519().Public() }

func (s tlsSigner) Sign(r io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.ed25519().Sign(r, message, opts)
}

// TLSOptions says who shows what, and whom to accept.
type TLSOptions struct {
	// Certificate returns one's own certificate, from TLSCertificate. It must be set
	// and is called for each handshake, so that a renewed one is taken up.
	Certificate func() (*tls.Certificate, error)
	// Peer is the only member to accept; the zero PublicKey accepts every one.
	Peer PublicKey
	// ExplainRefusals is for servers that call Authorize for every call: the
	// handshake succeeds for an authentic member whose certificate has expired, is
	// not yet valid or is revoked, and Authorize says which, so that the caller can
	// be told. Without it the handshake fails.
	ExplainRefusals bool
	// Admit is for servers that enrol newcomers: it says whether the Request of a
	// peer without a certificate may be heard (Issuer.Admissible). nil accepts
	// members alone.
	Admit func(*Request) error
}

// ServerTLS returns a configuration for servers: TLS 1.3, both sides
// authenticated, every handshake judged by v and by nothing else. Strangers are
// refused before any of their payload is read. The caller may set NextProtos.
func (v *Verifier) ServerTLS(o TLSOptions) *tls.Config {
	c := tlsConfig(func(cs tls.ConnectionState) error { return v.acceptClient(cs, o) })
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return o.Certificate() }
	c.ClientAuth = tls.RequireAnyClientCert // judged in VerifyConnection
	return c
}

// ClientTLS returns a configuration for clients, as ServerTLS does for servers.
// The server must be a node of the network; its address and name do not matter.
func (v *Verifier) ClientTLS(o TLSOptions) *tls.Config {
	c := tlsConfig(func(cs tls.ConnectionState) error { return v.acceptServer(cs, o) })
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate() }
	c.InsecureSkipVerify = true // replaces the judgement by X.509 names and authorities: judged in VerifyConnection
	return c
}

func tlsConfig(accept func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		MaxVersion: tls.VersionTLS13,
		// Every connection shows a certificate: nothing is resumed.
		SessionTicketsDisabled: true,
		VerifyConnection:       accept,
	}
}

func (v *Verifier) acceptClient(cs tls.ConnectionState, o TLSOptions) error {
	p, err := peerProof(cs)
	if err != nil {
		return err
	}
	if err := checkPeer(p.key, o.Peer); err != nil {
		return err
	}
	if p.request != nil {
		if p.request.Network != v.network {
			return wrongNetwork("the request of "+p.request.Name, p.request.Network, v.network)
		}
		if o.Admit == nil {
			return fmt.Errorf("%w: %s is only invited: it must ask the issuer of its invite", ErrNotMember, p.request.Name)
		}
		return o.Admit(p.request)
	}
	_, standing, err := v.judgePeer(p)
	if o.ExplainRefusals {
		return err
	}
	return errors.Join(err, standing)
}

func (v *Verifier) acceptServer(cs tls.ConnectionState, o TLSOptions) error {
	p, err := peerProof(cs)
	if err != nil {
		return err
	}
	if err := checkPeer(p.key, o.Peer); err != nil {
		return err
	}
	cert, standing, err := v.judgePeer(p)
	if err = errors.Join(err, standing); err != nil {
		return err
	}
	if cert.Caps.Node == NoNode {
		return fmt.Errorf("%w: %s is an operator's key and may not serve as a node", ErrRole, cert.Name)
	}
	return nil
}

// Authorize returns the certificate of the member at the other end if it is
// valid now, not revoked, and allows need (ErrRole); NoAPI asks for membership
// alone. Called for every call, it ends the rights of a member also on
// connections that were opened before its expiry or revocation. Errors are those
// of Verify, ErrRole and ErrNotMember.
func (v *Verifier) Authorize(cs tls.ConnectionState, need APIRole) (*Certificate, error) {
	p, err := peerProof(cs)
	if err != nil {
		return nil, err
	}
	cert, standing, err := v.judgePeer(p)
	if err = errors.Join(err, standing); err != nil {
		return nil, err
	}
	if cert.Caps.API < need {
		return nil, fmt.Errorf("%w: %s has the role %s, this call needs %s", ErrRole, cert.Name, cert.Caps.API, need)
	}
	return cert, nil
}

// PeerRequest returns the encoded Request of a newcomer that TLSOptions.Admit
// let in, for Issuer.Admit.
func PeerRequest(cs tls.ConnectionState) ([]byte, error) {
	p, err := peerProof(cs)
	if err != nil {
		return nil, err
	}
	if p.request == nil {
		return nil, fmt.Errorf("%w: the peer shows a certificate, not an invite", ErrInvite)
	}
	return p.raw, nil
}

// proof is what the peer's X.509 wrapper carries: a credential or a request.
type proof struct {
	key     PublicKey // proven by the handshake
	raw     []byte
	request *Request // nil for a credential
}

func (v *Verifier) judgePeer(p *proof) (cert *Certificate, standing, err error) {
	if p.request != nil {
		return nil, nil, fmt.Errorf("%w: %s is only invited: it must be admitted first", ErrNotMember, p.request.Name)
	}
	cert, standing, err = v.judge(p.raw)
	if err == nil && cert.Key != p.key {
		return nil, nil, fmt.Errorf("%w: %s shows the certificate of another key", ErrSignature, p.key)
	}
	return cert, standing, err
}

// peerProof unwraps the peer's X.509 certificate.
func peerProof(cs tls.ConnectionState) (*proof, error) {
	if len(cs.PeerCertificates) != 1 {
		return nil, fmt.Errorf("read the peer's certificate: %w: %d X.509 certificates, want 1", ErrMalformed, len(cs.PeerCertificates))
	}
	leaf := cs.PeerCertificates[0]
	pub, ok := leaf.PublicKey.(ed25519.PublicKey)
	if !ok || len(leaf.Raw) > maxX509 {
		return nil, fmt.Errorf("read the peer's certificate: %w: an X.509 certificate with a key of type %s, %d bytes, is none of ours", ErrMalformed, leaf.PublicKeyAlgorithm, len(leaf.Raw))
	}
	if leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) != nil {
		return nil, fmt.Errorf("read the peer's certificate: %w: the X.509 certificate is not signed by its own key", ErrSignature)
	}
	p := &proof{key: PublicKey(pub)}
	for _, e := range leaf.Extensions {
		switch {
		case !e.Id.Equal(oidCredential) && !e.Id.Equal(oidRequest):
			continue
		case p.raw != nil:
			return nil, fmt.Errorf("read the peer's certificate: %w: it carries two proofs", ErrMalformed)
		}
		p.raw = bytes.Clone(e.Value)
		if e.Id.Equal(oidRequest) {
			r, err := Parse[Request](e.Value)
			if err != nil {
				return nil, err
			}
			if r.Key != p.key {
				return nil, fmt.Errorf("read the peer's certificate: %w: it carries the request of another key", ErrSignature)
			}
			p.request = r
		}
	}
	if p.raw == nil {
		return nil, fmt.Errorf("read the peer's certificate: %w: no proof of membership in it: the peer is no part of any network", ErrMalformed)
	}
	return p, nil
}

func checkPeer(got, want PublicKey) error {
	if want != (PublicKey{}) && got != want {
		return fmt.Errorf("%w: %s answers instead of %s: check the address", ErrWrongPeer, got, want)
	}
	return nil
}
