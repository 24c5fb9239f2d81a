package disk

import (
	"fmt"
	"io"
	"os"
)

// placeAll writes the files to their sectors. Each must end before the next one, and
// the last before the sector end.
func placeAll(w io.WriterAt, files []Placed, end int64) error {
	for i, f := range files {
		limit := end
		if i+1 < len(files) {
			limit = files[i+1].Sector
		}
		data, err := os.ReadFile(f.Path)
		if err != nil {
			return fmt.Errorf("read what stands before the partitions: %w", err)
		}
		if have := (limit - f.Sector) * sectorSize; int64(len(data)) > have {
			return fmt.Errorf("%s has %d bytes, its place on the disk, from sector %d to %d, has %d", f.Path, len(data), f.Sector, limit, have)
		}
		if _, err := w.WriteAt(data, f.Sector*sectorSize); err != nil {
			return fmt.Errorf("write %s to sector %d: %w", f.Path, f.Sector, err)
		}
	}
	return nil
}
