package networks

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

// ClientTLS returns what calls the node peer, or any node of the network when
// peer is zero, as this operator. It renews the operator's certificate first when
// it is time. The result goes on being of use when the network is closed; it
// judges by what is known now.
func (n *Network) ClientTLS(peer identity.PublicKey) (*tls.Config, error) {
	cert, err := n.freshTLS()
	if err != nil {
		return nil, err
	}
	return n.Verifier.Detached().ClientTLS(identity.TLSOptions{
		Certificate: func() (*tls.Certificate, error) { return &cert, nil },
		Peer:        peer,
	}), nil
}

func (n *Network) freshTLS() (tls.Certificate, error) {
	if _, err := n.Renew(); err != nil {
		return tls.Certificate{}, err
	}
	return n.TLS()
}

// ClientPEM returns the operator's certificate and its key, which is secret, for
// programs that call the network's nodes by themselves (PEM, PKCS #8). It renews
// the certificate first when it is time.
func (n *Network) ClientPEM() (certificate, key []byte, err error) {
	cert, err := n.freshTLS()
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(n.operator.Reveal()))
	if err != nil {
		return nil, nil, fmt.Errorf("encode the operator's key: %w", err)
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Kubeconfig returns a kubeconfig with which this operator calls the cluster that
// answer, a node's own kubeconfig without a user, is about, by way of the machine
// API at address ("host:port"). It holds the operator's key and serves as long as
// the operator's certificate is valid.
func (n *Network) Kubeconfig(answer []byte, address string) ([]byte, error) {
	authority, err := clusterAuthority(answer)
	if err != nil {
		return nil, err
	}
	cert, key, err := n.ClientPEM()
	if err != nil {
		return nil, err
	}
	var k kubeconfig
	k.APIVersion, k.Kind, k.CurrentContext = "v1", "Config", n.Name
	k.Clusters = []namedCluster{{Name: n.Name, Cluster: cluster{
		Server: "https://" + address + "/kubernetes", ServerName: api.KubernetesServerName, Authority: authority,
	}}}
	k.Users = []namedUser{{Name: n.cert.Name, User: user{
		Certificate: base64.StdEncoding.EncodeToString(cert), Key: base64.StdEncoding.EncodeToString(key),
	}}}
	k.Contexts = []namedContext{{Name: n.Name, Context: kubeContext{Cluster: n.Name, User: n.cert.Name}}}
	data, err := yaml.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encode the kubeconfig: %w", err)
	}
	return data, nil
}

// clusterAuthority returns the certificates (PEM in base64) that vouch for the
// server which a kubeconfig is about.
func clusterAuthority(answer []byte) (string, error) {
	var k kubeconfig
	if err := yaml.Unmarshal(answer, &k); err != nil {
		return "", errors.New("read the node's kubeconfig: it is not YAML")
	}
	if len(k.Clusters) != 1 {
		return "", fmt.Errorf("read the node's kubeconfig: it names %d clusters, want one", len(k.Clusters))
	}
	authority := k.Clusters[0].Cluster.Authority
	text, err := base64.StdEncoding.DecodeString(authority)
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(text) {
		return "", errors.New("read the node's kubeconfig: it holds no certificate of the cluster's authority")
	}
	return authority, nil
}

// kubeconfig is the part of Kubernetes' Config (v1) that is of use here.
type kubeconfig struct {
	APIVersion     string         `yaml:"apiVersion"`
	Kind           string         `yaml:"kind"`
	CurrentContext string         `yaml:"current-context"`
	Clusters       []namedCluster `yaml:"clusters"`
	Users          []namedUser    `yaml:"users"`
	Contexts       []namedContext `yaml:"contexts"`
}

type namedCluster struct {
	Name    string  `yaml:"name"`
	Cluster cluster `yaml:"cluster"`
}

type cluster struct {
	Server     string `yaml:"server"`
	ServerName string `yaml:"tls-server-name,omitempty"`
	Authority  string `yaml:"certificate-authority-data"`
}

type namedUser struct {
	Name string `yaml:"name"`
	User user   `yaml:"user"`
}

type user struct {
	Certificate string `yaml:"client-certificate-data"`
	Key         string `yaml:"client-key-data"`
}

type namedContext struct {
	Name    string      `yaml:"name"`
	Context kubeContext `yaml:"context"`
}

type kubeContext struct {
	Cluster string `yaml:"cluster"`
	User    string `yaml:"user"`
}
