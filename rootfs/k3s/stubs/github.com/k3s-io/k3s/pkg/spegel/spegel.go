// Package spegel stands in for K3s' embedded registry mirror, which this build
// leaves out: peers serve images another way.
package spegel

import (
	"context"
	"errors"

	"github.com/k3s-io/k3s/pkg/agent/https"
	"github.com/k3s-io/k3s/pkg/daemons/config"
)

// DefaultRegistry is the registry that the agent would start.
var DefaultRegistry = &Config{}

// Config holds the fields that the agent and server set.
type Config struct {
	ClientCAFile    string
	ClientCertFile  string
	ClientKeyFile   string
	ServerCAFile    string
	ServerCertFile  string
	ServerKeyFile   string
	ExternalAddress string
	InternalAddress string
	RegistryPort    string
	PSK             []byte
	Bootstrapper    Bootstrapper
	Router          https.RouterFunc
}

// Bootstrapper finds peers; none does here.
type Bootstrapper any

// NewSelfBootstrapper returns nil.
func NewSelfBootstrapper() Bootstrapper { return nil }

// NewAgentBootstrapper returns nil.
func NewAgentBootstrapper(server, token, dataDir string) Bootstrapper { return nil }

// NewServerBootstrapper returns nil.
func NewServerBootstrapper(*config.Control) Bootstrapper { return nil }

// NewChainingBootstrapper returns nil.
func NewChainingBootstrapper(...Bootstrapper) Bootstrapper { return nil }

// Start fails: whoever asks for the embedded registry must learn that it is absent.
func (c *Config) Start(context.Context, *config.Node, <-chan struct{}) error {
	return errors.New("this build has no embedded registry: leave out --embedded-registry")
}

// InjectMirror does nothing.
func (c *Config) InjectMirror(*config.Node) error { return nil }
