// Package kube asks a Kubernetes API server the few things that a node's status
// shows, without a client library.
package kube

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Credentials are what a kubeconfig file holds for its only cluster and user.
type Credentials struct {
	Server string
	TLS    *tls.Config
}

// kubeconfig is the part of a kubeconfig file (v1 Config) that is used here.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server string `yaml:"server"`
			CA     string `yaml:"certificate-authority-data"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		User struct {
			Certificate string `yaml:"client-certificate-data"`
			Key         string `yaml:"client-key-data"`
		} `yaml:"user"`
	} `yaml:"users"`
}

// ParseKubeconfig reads a kubeconfig with embedded certificates.
func ParseKubeconfig(b []byte) (Credentials, error) {
	var k kubeconfig
	if err := yaml.Unmarshal(b, &k); err != nil {
		return Credentials{}, fmt.Errorf("read the kubeconfig: %w", err)
	}
	if len(k.Clusters) != 1 || len(k.Users) != 1 {
		return Credentials{}, fmt.Errorf("the kubeconfig has %d clusters and %d users, want one of each", len(k.Clusters), len(k.Users))
	}
	cluster, user := k.Clusters[0].Cluster, k.Users[0].User
	var pem [3][]byte
	for i, s := range []string{cluster.CA, user.Certificate, user.Key} {
		var err error
		if pem[i], err = base64.StdEncoding.DecodeString(s); err != nil || len(pem[i]) == 0 {
			return Credentials{}, fmt.Errorf("the kubeconfig's certificates are not embedded: %w", errors.Join(err, errors.New("no data")))
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem[0]) {
		return Credentials{}, errors.New("the kubeconfig's CA is no certificate")
	}
	pair, err := tls.X509KeyPair(pem[1], pem[2])
	if err != nil {
		return Credentials{}, fmt.Errorf("the kubeconfig's client certificate: %w", err)
	}
	return Credentials{Server: cluster.Server, TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}, nil
}
