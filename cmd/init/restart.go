package main

import (
	"fmt"
	"slices"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/supervise"
)

// restartService starts a service again: api.ErrNotFound when there is none of
// that name, api.ErrNotYet when it waits for something.
func (m *machine) restartService(name string) error {
	m.mu.Lock()
	services := m.services
	m.mu.Unlock()
	i := slices.IndexFunc(services, func(s *supervise.Service) bool { return s.Status().Name == name })
	if i < 0 {
		names := make([]string, len(services))
		for i, s := range services {
			names[i] = s.Status().Name
		}
		return fmt.Errorf("service %q: %w (known here: %q)", name, api.ErrNotFound, names)
	}
	if services[i].Restart("the machine API asks for it") {
		return nil
	}
	s := services[i].Status()
	why := s.LastError
	if why == "" {
		why = "see the status' problems"
	}
	return fmt.Errorf("service %s is %s (%s): %w", name, s.State, why, api.ErrNotYet)
}
