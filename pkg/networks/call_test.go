package networks

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/digital-mycelium/os/pkg/identity"
)

// member is a node's key and credential, by the network's own issuer.
func member(t *testing.T, n *Network, name string) (identity.PublicKey, func() (*tls.Certificate, error)) {
	t.Helper()
	key := identity.GenerateKey()
	request, err := identity.Sign(key, identity.Request{Network: n.Verifier.Network(), Key: key.Public(), Mesh: [32]byte{1}, Name: name})
	noErr(t, err)
	cred, err := n.Issuer.Issue(request, identity.Caps{Node: identity.Server})
	noErr(t, err)
	cert, err := identity.TLSCertificate(key, cred)
	noErr(t, err)
	return key.Public(), func() (*tls.Certificate, error) { return &cert, nil }
}

// A node sees the operator, who goes on calling when the network is closed.
func TestClientTLS(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	n := open(t, s, "home")
	key, cert := member(t, n, "node-1")
	v := n.Verifier.Detached()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := v.Authorize(*r.TLS, identity.Admin)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = w.Write([]byte(c.Name))
	}))
	server.Listener = tls.NewListener(server.Listener, v.ServerTLS(identity.TLSOptions{Certificate: cert}))
	server.Start()
	defer server.Close()
	url := strings.Replace(server.URL, "http:", "https:", 1)

	call := func(peer identity.PublicKey) error {
		t.Helper()
		config, err := n.ClientTLS(peer)
		noErr(t, err)
		n.Close()
		defer func() { n = open(t, s, "home") }()
		transport := &http.Transport{TLSClientConfig: config}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var name [16]byte
		length, _ := resp.Body.Read(name[:])
		if string(name[:length]) != "ann" {
			t.Errorf("the node sees %q", name)
		}
		return nil
	}
	noErr(t, call(key))
	noErr(t, call(identity.PublicKey{})) // whoever it is
	if err := call(identity.GenerateKey().Public()); !errors.Is(err, identity.ErrWrongPeer) {
		t.Errorf("another node answered: %v", err)
	}
	n.Close()
}

func TestClientTLSRenews(t *testing.T) {
	s, id := newStore(t)
	now := time.Now()
	s.Now = func() time.Time { return now }
	create(t, s, "home", id)
	now = now.Add(CertificateValidity * 9 / 10)
	n := open(t, s, "home")
	defer n.Close()
	_, err := n.ClientTLS(identity.PublicKey{})
	noErr(t, err)
	if c := n.Certificate(); c.Serial != 2 {
		t.Errorf("the certificate is number %d still", c.Serial)
	}
}

func TestKubeconfig(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	n := open(t, s, "home")
	defer n.Close()
	_, cert := member(t, n, "node-1")
	c, err := cert()
	noErr(t, err)
	authority := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
	answer := "apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster:\n    server: https://100.64.0.1:6440/kubernetes\n    certificate-authority-data: " + authority + "\n"
	data, err := n.Kubeconfig([]byte(answer), "127.0.0.1:4000")
	noErr(t, err)
	var k kubeconfig
	noErr(t, yaml.Unmarshal(data, &k))
	cl, u := k.Clusters[0].Cluster, k.Users[0].User
	if cl.Server != "https://127.0.0.1:4000/kubernetes" || cl.ServerName != "kubernetes.mycelium.internal" || cl.Authority != authority {
		t.Errorf("cluster %+v", cl)
	}
	if x := k.Contexts[0]; k.CurrentContext != x.Name || x.Context.Cluster != k.Clusters[0].Name || x.Context.User != k.Users[0].Name || x.Context.User != "ann" {
		t.Errorf("context %+v of %s", x, k.CurrentContext)
	}
	decode := func(text string) []byte {
		data, err := base64.StdEncoding.DecodeString(text)
		noErr(t, err)
		return data
	}
	pair, err := tls.X509KeyPair(decode(u.Certificate), decode(u.Key)) // as kubectl reads them
	noErr(t, err)
	if pair.Leaf.PublicKey == nil {
		t.Error("the certificate has no key")
	}
	for _, bad := range []string{"", "\t", "clusters: []", "clusters: 3", strings.Replace(answer, authority, "QUJD", 1), strings.Replace(answer, authority, "?", 1), answer + "- name: other\n"} {
		if _, err := n.Kubeconfig([]byte(bad), "h:1"); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzClusterAuthority(f *testing.F) {
	f.Add([]byte("clusters:\n- cluster:\n    certificate-authority-data: QUJD\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := clusterAuthority(data); (a == "") == (err == nil) {
			t.Fatalf("authority %q and error %v", a, err)
		}
	})
}
