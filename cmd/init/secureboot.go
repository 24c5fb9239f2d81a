package main

import (
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/secureboot"
)

// noteSecureBoot puts into the status what the firmware does about signatures.
func (m *machine) noteSecureBoot(f secureboot.Firmware) {
	state, err := f.State()
	if err != nil {
		m.log.Warn("the firmware does not say whether Secure Boot is on", "error", err)
	}
	m.board.Update(func(s *api.Status) { s.SecureBoot = string(state) })
}
