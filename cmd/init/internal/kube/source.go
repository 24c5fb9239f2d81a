package kube

import (
	"os"
	"sync"
	"time"
)

// Source is a kubeconfig file that is written anew now and then: K3s does so at
// each start, with other certificates if need be. It is safe for concurrent use.
type Source struct {
	path string

	mu          sync.Mutex
	written     time.Time // the file that credentials are from
	credentials Credentials
	client      *Client
}

// NewSource returns the source that the file path is. It need not exist yet.
func NewSource(path string) *Source { return &Source{path: path} }

// Credentials returns what the file says now. As long as it stays the same, so
// does Credentials.TLS. Before the file exists the error is fs.ErrNotExist.
func (s *Source) Credentials() (Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.load()
	return s.credentials, err
}

// Client returns a client with what the file says now: the one that it returned
// before, as long as the file stays the same. The caller does not close it.
func (s *Source) Client() (*Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return nil, err
	}
	if s.client == nil {
		s.client = NewClient(s.credentials)
	}
	return s.client, nil
}

// load reads the file unless it was read as it is. The caller holds mu.
func (s *Source) load() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if s.credentials.TLS != nil && info.ModTime().Equal(s.written) {
		return nil
	}
	c, err := LoadKubeconfig(s.path)
	if err != nil {
		return err
	}
	if s.client != nil {
		s.client.Close()
	}
	s.credentials, s.written, s.client = c, info.ModTime(), nil
	return nil
}
