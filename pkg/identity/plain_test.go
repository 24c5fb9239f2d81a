package identity

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

// Whoever has the certificate as an authority accepts its server, in any year,
// under its names alone.
func TestPlainCertificate(t *testing.T) {
	key := testKey("node")
	cert, err := PlainCertificate(key, "kubernetes.example", "127.0.0.1")
	noErr(t, err)
	again, err := PlainCertificate(key, "kubernetes.example", "127.0.0.1")
	noErr(t, err)
	if !bytes.Equal(cert.Certificate[0], again.Certificate[0]) {
		t.Error("the same key and names give another certificate")
	}
	other, err := PlainCertificate(testKey("other"), "kubernetes.example")
	noErr(t, err)
	authority := func(c tls.Certificate) *x509.CertPool {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		noErr(t, err)
		pool := x509.NewCertPool()
		pool.AddCert(leaf)
		return pool
	}
	server := &tls.Config{Certificates: []tls.Certificate{cert}}
	for _, c := range []struct {
		name string
		year int
		pool *x509.CertPool
		good bool
	}{
		{"kubernetes.example", 1970, authority(cert), true},
		{"kubernetes.example", 9998, authority(cert), true},
		{"127.0.0.1", 2026, authority(cert), true},
		{"node-1", 2026, authority(cert), false},
		{"kubernetes.example", 2026, authority(other), false},
	} {
		client := &tls.Config{
			ServerName: c.name, RootCAs: c.pool,
			Time: func() time.Time { return time.Date(c.year, 1, 1, 0, 0, 1, 0, time.UTC) },
		}
		_, _, _, _, err := connect(t, server, client)
		if good := err == nil; good != c.good {
			t.Errorf("%s in %d: %v", c.name, c.year, err)
		}
	}
	_, err = PlainCertificate(PrivateKey{})
	wantErr(t, err, ErrSignature)
}

// A plain certificate is no proof of membership.
func TestPlainCertificateIsNoMember(t *testing.T) {
	n := newNetwork(t, "a")
	plain, err := PlainCertificate(testKey("member"), "member")
	noErr(t, err)
	server := n.v.ServerTLS(TLSOptions{Certificate: n.tlsCert(n.certificate("server"))})
	_, _, read, serr, _ := connect(t, server, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{plain}})
	wantErr(t, serr, ErrMalformed)
	if read != 0 {
		t.Error("payload was read")
	}
	client := n.v.ClientTLS(TLSOptions{Certificate: n.tlsCert(n.certificate("client"))})
	_, _, _, _, cerr := connect(t, &tls.Config{Certificates: []tls.Certificate{plain}}, client)
	wantErr(t, cerr, ErrMalformed)
}

func TestKeyFromSeed(t *testing.T) {
	key := GenerateKey()
	again, err := KeyFromSeed(key.Reveal())
	noErr(t, err)
	if again.Public() != key.Public() {
		t.Error("the seed gives another key")
	}
	for _, n := range []int{0, 31, 33, 64} {
		_, err := KeyFromSeed(make([]byte, n))
		wantErr(t, err, ErrMalformed)
	}
	if (PrivateKey{}).Reveal() != nil {
		t.Error("a zero key has a seed")
	}
}
