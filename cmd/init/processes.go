package main

import (
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/proc"
	"github.com/digital-mycelium/os/pkg/api"
)

// processes lists what runs on the node.
func (m *machine) processes() ([]api.Process, error) {
	return proc.List("/proc", time.Now().Add(-uptime()))
}
