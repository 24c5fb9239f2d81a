package disk

import (
	"fmt"

	"github.com/digital-mycelium/os/pkg/gpt"
)

// Plan is what changes in a partition table.
type Plan struct {
	// Fit says that the table must be fitted to the size of the disk, or that one
	// of its copies must be repaired.
	Fit bool
	// Create says that there is no DATA yet: Data is where it will be. What lies
	// there is not part of any partition and is wiped.
	Create bool
	// Grow says that Data is DATA's new extent.
	Grow bool
	Data gpt.Partition
}

// minimum of growth and of DATA that is worth a change, in bytes.
const (
	minGrowth = 16 << 20
	minData   = 256 << 20
)

// NewPlan says what must change in t for a disk of size bytes. It changes t in
// memory: to the fitted table when DATA is to be created (Plan.Data is not in
// it yet, because what lies there must be wiped before the entry is written),
// else to the final one.
func NewPlan(t *gpt.Table, size int64) (Plan, error) {
	var p Plan
	p.Fit = t.Damage != nil
	if size-t.DiskBytes() >= int64(t.SectorSize) {
		if err := t.Resize(size); err != nil {
			return Plan{}, err
		}
		p.Fit = true
	}
	if old, ok := t.Find(gpt.Data, "DATA"); ok {
		p.Data = old
		return p, growData(t, &p)
	}
	trial := *t
	added, err := trial.AddPartition(gpt.Partition{Type: gpt.Data, Name: "DATA"}, 0)
	if err != nil {
		return p, fmt.Errorf("make DATA: %w", err)
	}
	if n := t.Bytes(added); n < minData {
		return p, fmt.Errorf("make DATA: only %d MiB are left on the disk, at least %d are needed", n>>20, minData>>20)
	}
	p.Create, p.Data = true, added
	return p, nil
}

// growData extends DATA to the end of the disk when it is the last partition
// and that gains enough.
func growData(t *gpt.Table, p *Plan) error {
	trial := *t
	trial.Partitions = append([]gpt.Partition(nil), t.Partitions...)
	last, grown := trial.GrowLast()
	if !grown || last.Number != p.Data.Number {
		return nil
	}
	if t.Bytes(last)-t.Bytes(p.Data) < minGrowth {
		return nil
	}
	if err := t.Set(last); err != nil {
		return fmt.Errorf("grow DATA: %w", err)
	}
	p.Grow, p.Data = true, last
	return nil
}
