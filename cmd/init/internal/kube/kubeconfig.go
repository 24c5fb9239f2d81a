// Package kube asks a Kubernetes API server the few things that a node needs to
// know, without a client library.
package kube

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
)

// Credentials are what a kubeconfig file holds for its only cluster and user.
type Credentials struct {
	// Server is the URL of the API server.
	Server string
	// TLS trusts the cluster's CA alone and shows the user's certificate. It is
	// not to be changed.
	TLS *tls.Config
}

// kubeconfig is the part of a kubeconfig file (v1 Config) that is used here.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server string `yaml:"server"`
			CA     string `yaml:"certificate-authority-data"`
			CAFile string `yaml:"certificate-authority"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		User struct {
			Certificate     string `yaml:"client-certificate-data"`
			CertificateFile string `yaml:"client-certificate"`
			Key             string `yaml:"client-key-data"`
			KeyFile         string `yaml:"client-key"`
		} `yaml:"user"`
	} `yaml:"users"`
}

// ParseKubeconfig reads a kubeconfig with embedded certificates, such as the
// administrator's.
func ParseKubeconfig(b []byte) (Credentials, error) {
	return parseKubeconfig(b, func(name string) ([]byte, error) {
		return nil, fmt.Errorf("it names the file %q instead", name)
	})
}

// LoadKubeconfig reads a kubeconfig file, whose certificates are embedded or
// files of their own, such as those of K3s' agent.
func LoadKubeconfig(path string) (Credentials, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Credentials{}, err
	}
	c, err := parseKubeconfig(b, os.ReadFile)
	if err != nil {
		return Credentials{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func parseKubeconfig(b []byte, readFile func(string) ([]byte, error)) (Credentials, error) {
	var k kubeconfig
	if err := yaml.Unmarshal(b, &k); err != nil {
		return Credentials{}, fmt.Errorf("read the kubeconfig: %w", err)
	}
	if len(k.Clusters) != 1 || len(k.Users) != 1 {
		return Credentials{}, fmt.Errorf("the kubeconfig has %d clusters and %d users, want one of each", len(k.Clusters), len(k.Users))
	}
	cluster, user := k.Clusters[0].Cluster, k.Users[0].User
	var pem [3][]byte
	for i, s := range []struct{ what, data, file string }{
		{"CA", cluster.CA, cluster.CAFile},
		{"client certificate", user.Certificate, user.CertificateFile},
		{"client key", user.Key, user.KeyFile},
	} {
		var err error
		if s.data == "" && s.file != "" {
			pem[i], err = readFile(s.file)
		} else {
			pem[i], err = base64.StdEncoding.DecodeString(s.data)
		}
		if err == nil && len(pem[i]) == 0 {
			err = errors.New("no data")
		}
		if err != nil {
			return Credentials{}, fmt.Errorf("the kubeconfig's %s: %w", s.what, err)
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
