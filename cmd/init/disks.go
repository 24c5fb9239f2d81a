package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/disk"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// prepareDisk finds the boot disk, fits the partition table to the disk and makes or grows DATA.
//
// A machine without any disk of ours (booted from the network, or a kernel and
// initramfs alone) runs from memory. One whose disk is there and not clear runs
// without Kubernetes and touches nothing.
func (m *machine) prepareDisk(ctx context.Context) error {
	m.disk = findBootDisk(ctx, m.log)
	if m.disk.table == nil {
		if errors.Is(m.disk.err, disk.ErrNone) {
			m.board.SetProblem("disk", "no disk: everything is kept in memory and lost at power-off")
			return nil
		}
		m.block("the boot disk is not clear")
		return m.disk.err
	}
	t := m.disk.table
	damage := t.Damage
	plan, err := disk.NewPlan(t, m.disk.Size)
	if err != nil {
		m.block("there is no DATA partition")
		return err
	}
	if damage != nil {
		m.log.Warn("one copy of the partition table was damaged and is written anew", "damage", damage)
	}
	if !plan.Fit && !plan.Create && !plan.Grow {
		return nil
	}
	if err := m.applyPlan(t, plan); err != nil {
		m.block("the partition table could not be written")
		return err
	}
	return nil
}

// applyPlan writes the table. DATA's entry comes last: what lies in its place
// is wiped while no table points at it, so that a power cut leaves either no
// DATA or a blank one, never one with an old disk's rubbish in it.
func (m *machine) applyPlan(t *gpt.Table, plan disk.Plan) (err error) {
	f, err := os.OpenFile("/dev/"+m.disk.Name, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if plan.Fit || plan.Grow {
		if err := t.Write(f); err != nil {
			return err
		}
	}
	if plan.Grow {
		m.log.Info("DATA grows", "bytes", t.Bytes(plan.Data))
		return tellKernel(f, blkpgResize, t, plan.Data)
	}
	if !plan.Create {
		return nil
	}
	m.log.Info("making DATA", "bytes", t.Bytes(plan.Data))
	if err := disk.ClearPlace(f, t.Offset(plan.Data), t.Bytes(plan.Data)); err != nil {
		return fmt.Errorf("wipe the place of DATA: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("wipe the place of DATA: %w", err)
	}
	added, err := t.AddPartition(gpt.Partition{Type: gpt.Data, Name: "DATA"}, 0)
	if err != nil {
		return err
	}
	if err := t.Write(f); err != nil {
		return err
	}
	return tellKernel(f, blkpgAdd, t, added)
}
