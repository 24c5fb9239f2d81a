package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

func static(c tls.Certificate) func() (*tls.Certificate, error) {
	return func() (*tls.Certificate, error) { return &c, nil }
}

// tlsCert is the TLS certificate of the node called c.Name.
func (n *network) tlsCert(c Certificate) func() (*tls.Certificate, error) {
	n.t.Helper()
	cert, err := TLSCertificate(testKey(c.Name), n.credential(n.delegation(), c))
	noErr(n.t, err)
	return static(cert)
}

// connect lets a client and a server shake hands and the server then read one
// byte. read is how many bytes of payload the server saw.
func connect(t *testing.T, server, client *tls.Config) (srv, cli tls.ConnectionState, read int, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noErr(t, err)
	defer func() { _ = l.Close() }()
	b, err := net.Dial("tcp", l.Addr().String())
	noErr(t, err)
	defer func() { _ = b.Close() }()
	a, err := l.Accept()
	noErr(t, err)
	deadline := time.Now().Add(10 * time.Second)
	noErr(t, a.SetDeadline(deadline))
	noErr(t, b.SetDeadline(deadline))
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = s.Close() }()
		if serverErr = s.Handshake(); serverErr == nil {
			srv = s.ConnectionState()
			read, serverErr = s.Read(make([]byte, 1))
		}
	}()
	if clientErr = c.Handshake(); clientErr == nil {
		cli = c.ConnectionState()
		_, clientErr = c.Write([]byte{1})
	}
	if clientErr == nil {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) { // the server says why it ends
			clientErr = err
		}
	}
	_ = b.Close()
	<-done
	return srv, cli, read, serverErr, clientErr
}

func TestMutualTLS(t *testing.T) {
	n := newNetwork(t, "a")
	server := n.v.ServerTLS(TLSOptions{Certificate: n.tlsCert(n.certificate("server"))})
	client := n.v.ClientTLS(TLSOptions{Certificate: n.tlsCert(n.certificate("client")), Peer: testKey("server").Public()})
	srv, cli, read, serr, cerr := connect(t, server, client)
	if serr != nil || cerr != nil || read != 1 {
		t.Fatalf("server %v, client %v, %d bytes", serr, cerr, read)
	}
	if srv.Version != tls.VersionTLS13 {
		t.Errorf("version %x", srv.Version)
	}
	c, err := n.v.Authorize(srv, Reader)
	if err != nil || c.Name != "client" || c.Key != testKey("client").Public() {
		t.Errorf("the server sees %+v, %v", c, err)
	}
	if c, err = n.v.Authorize(cli, NoAPI); err != nil || c.Name != "server" {
		t.Errorf("the client sees %+v, %v", c, err)
	}
	_, err = n.v.Authorize(srv, Operator)
	wantErr(t, err, ErrRole)
	_, err = PeerRequest(srv)
	wantErr(t, err, ErrInvite)
	for _, version := range []uint16{tls.VersionTLS12} {
		old := client.Clone()
		old.MinVersion, old.MaxVersion = version, version
		if _, _, _, serr, _ := connect(t, server, old); serr == nil {
			t.Error("TLS 1.2 accepted")
		}
	}
	// what happens while the connection is open
	noErr(t, n.v.AddRevocation(sign(t, n.root, Revocation{
		Network: n.id, Signer: n.root.Public(), Version: 1, Issued: t0, Keys: []PublicKey{testKey("client").Public()},
	})))
	_, err = n.v.Authorize(srv, Reader)
	wantErr(t, err, ErrRevoked)
	n.now = t0.Add(2 * day)
	_, err = n.v.Authorize(cli, NoAPI)
	wantErr(t, err, ErrExpired)
}

// Each unwanted caller is refused for its own reason, before its payload is read.
func TestServerRefusals(t *testing.T) {
	n, other := newNetwork(t, "a"), newNetwork(t, "b")
	revoked := n.certificate("revoked")
	noErr(t, n.v.AddRevocation(sign(t, n.root, Revocation{
		Network: n.id, Signer: n.root.Public(), Version: 1, Issued: t0, Keys: []PublicKey{revoked.Key},
	})))
	expired, early, operator := n.certificate("expired"), n.certificate("early"), n.certificate("operator")
	expired.NotAfter = t0.Add(-time.Hour)
	early.NotBefore = t0.Add(time.Hour)
	operator.Caps, operator.Mesh = Caps{API: Operator}, [32]byte{}
	invited, err := TLSCertificate(testKey("new"), sign(t, testKey("new"), n.request("new")))
	noErr(t, err)
	good := n.tlsCert(n.certificate("server"))
	for name, c := range map[string]struct {
		cert      func() (*tls.Certificate, error)
		handshake error // the server's, when strict
		authorize error // of a call that needs an operator, when the server explains
	}{
		"good":                {n.tlsCert(operator), nil, nil},
		"wrong role":          {n.tlsCert(n.certificate("reader")), nil, ErrRole},
		"expired":             {n.tlsCert(expired), ErrExpired, ErrExpired},
		"not yet valid":       {n.tlsCert(early), ErrNotYetValid, ErrNotYetValid},
		"revoked":             {n.tlsCert(revoked), ErrRevoked, ErrRevoked},
		"wrong network":       {other.tlsCert(other.certificate("node-1")), ErrWrongNetwork, nil},
		"only invited":        {static(invited), ErrNotMember, nil},
		"another's":           {static(stolen(t, n.credential(n.delegation(), n.certificate("victim")))), ErrSignature, nil},
		"plain X.509":         {static(plainX509(t)), ErrMalformed, nil},
		"plain X.509 Ed25519": {static(wrap(t, testKey("x"))), ErrMalformed, nil},
		"two proofs": {static(wrap(t, testKey("x"), pkix.Extension{Id: oidCredential, Value: []byte{1}},
			pkix.Extension{Id: oidRequest, Value: []byte{1}})), ErrMalformed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			server := n.v.ServerTLS(TLSOptions{Certificate: good})
			client := n.v.ClientTLS(TLSOptions{Certificate: c.cert})
			srv, _, read, serr, cerr := connect(t, server, client)
			wantErr(t, serr, c.handshake)
			if refused := c.handshake != nil; refused != (read == 0) || refused && cerr == nil {
				t.Errorf("the server read %d bytes, the client got %v", read, cerr)
			}
			if c.handshake == nil {
				_, err := n.v.Authorize(srv, Operator)
				wantErr(t, err, c.authorize)
			}
			server = n.v.ServerTLS(TLSOptions{Certificate: good, ExplainRefusals: true})
			srv, _, read, serr, _ = connect(t, server, client)
			if c.handshake != nil && c.authorize == nil { // no member: nothing to explain
				wantErr(t, serr, c.handshake)
				if read != 0 {
					t.Error("the server read a stranger's payload")
				}
				return
			}
			noErr(t, serr)
			_, err := n.v.Authorize(srv, Operator)
			wantErr(t, err, c.authorize)
		})
	}
	server := n.v.ServerTLS(TLSOptions{Certificate: good})
	if _, _, read, serr, _ := connect(t, server, &tls.Config{InsecureSkipVerify: true}); serr == nil || read != 0 {
		t.Errorf("a client without a certificate: %v", serr)
	}
}

func TestClientRefusals(t *testing.T) {
	n, other := newNetwork(t, "a"), newNetwork(t, "b")
	expired, operator := n.certificate("expired"), n.certificate("operator")
	expired.NotAfter = t0.Add(-time.Hour)
	operator.Caps, operator.Mesh = Caps{API: Operator}, [32]byte{}
	for name, c := range map[string]struct {
		cert func() (*tls.Certificate, error)
		want error
	}{
		"good":          {n.tlsCert(n.certificate("server")), nil},
		"expired":       {n.tlsCert(expired), ErrExpired},
		"wrong network": {other.tlsCert(other.certificate("server")), ErrWrongNetwork},
		"operator":      {n.tlsCert(operator), ErrWrongPeer},
		"another's":     {static(stolen(t, n.credential(n.delegation(), n.certificate("server")))), ErrWrongPeer},
		"plain X.509":   {static(plainX509(t)), ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			peer := testKey("server").Public()
			if name == "expired" {
				peer = PublicKey{}
			}
			client := n.v.ClientTLS(TLSOptions{Certificate: n.tlsCert(n.certificate("client")), Peer: peer})
			// the server takes anyone: what is tested is the client
			server := &tls.Config{ClientAuth: tls.RequireAnyClientCert, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.cert() }}
			_, _, read, _, cerr := connect(t, server, client)
			wantErr(t, cerr, c.want)
			if c.want != nil && read != 0 {
				t.Error("the client sent payload to a server that it refuses")
			}
		})
	}
	client := n.v.ClientTLS(TLSOptions{Certificate: n.tlsCert(n.certificate("client"))})
	server := n.v.ServerTLS(TLSOptions{Certificate: n.tlsCert(operator)})
	_, _, _, _, cerr := connect(t, server, client)
	wantErr(t, cerr, ErrRole)
}

func TestTLSCertificateRefusals(t *testing.T) {
	n := newNetwork(t, "a")
	cred := n.credential(n.delegation(), n.certificate("one"))
	_, err := TLSCertificate(testKey("two"), cred)
	wantErr(t, err, ErrSignature)
	_, err = TLSCertificate(PrivateKey{}, cred)
	wantErr(t, err, ErrSignature)
	_, err = TLSCertificate(testKey("one"), []byte("x"))
	wantErr(t, err, ErrMalformed)
}

// A changed X.509 wrapper is refused, wherever it was changed.
func TestChangedX509IsRefused(t *testing.T) {
	n := newNetwork(t, "a")
	cert, err := n.tlsCert(n.certificate("one"))()
	noErr(t, err)
	for bit := range len(cert.Certificate[0]) * 8 {
		bad := bytes.Clone(cert.Certificate[0])
		bad[bit/8] ^= 1 << (bit % 8)
		leaf, err := x509.ParseCertificate(bad)
		if err != nil {
			continue
		}
		if _, err := n.v.Authorize(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, NoAPI); err == nil {
			t.Errorf("accepted with bit %d flipped", bit)
		}
	}
	_, err = n.v.Authorize(tls.ConnectionState{}, NoAPI)
	wantErr(t, err, ErrMalformed)
}

// wrap makes an X.509 certificate of key with any extensions.
func wrap(t *testing.T, key PrivateKey, extensions ...pkix.Extension) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), ExtraExtensions: extensions}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.ed25519().Public(), key.ed25519())
	noErr(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key.ed25519()}
}

// stolen shows somebody else's credential with a key of one's own.
func stolen(t *testing.T, credential []byte) tls.Certificate {
	return wrap(t, testKey("thief"), pkix.Extension{Id: oidCredential, Value: credential})
}

func plainX509(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noErr(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	noErr(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
