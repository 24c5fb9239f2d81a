package image

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/sbom"
)

// WriteSizes prints each component's share of the OS file at path, from the
// bill of materials beside it. The shares add up to the file's size.
func WriteSizes(w io.Writer, path string) error {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(path), Manifest))
	if err != nil {
		return fmt.Errorf("read the bill of materials beside the OS file: %w", err)
	}
	m, err := sbom.Read(data)
	if err != nil {
		return err
	}
	sum, err := cache.SumFile(path)
	if err != nil {
		return err
	}
	if sum != m.SHA256 {
		return fmt.Errorf("%s is not the OS file that %s beside it describes: build both again", path, Manifest)
	}
	b, err := board.Load(m.Board)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s, version %s\n\n", path, m.Version)
	return writeTable(w, m.Size, b.OSFile, m.Components)
}

// writeTable prints the table and the total against its goal and limit.
func writeTable(w io.Writer, size int64, bounds board.OSFile, components []component.Component) error {
	cs := slices.Clone(components)
	slices.SortStableFunc(cs, func(a, b component.Component) int { return cmp.Compare(b.CompressedSize, a.CompressedSize) })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, version string, raw, share int64) {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.2f\t%.1f\t\n", name, version, raw, share, float64(share)/(1<<20), 100*float64(share)/float64(size))
	}
	fmt.Fprintf(t, "component\tversion\traw bytes\tbytes\tMiB\t%%\t\n")
	rest := size
	for _, c := range cs {
		if c.CompressedSize == 0 {
			continue // on the disk image, not in the OS file
		}
		row(c.Name, c.Version, c.RawSize, c.CompressedSize)
		rest -= c.CompressedSize
	}
	row("metadata, padding, /etc", "", rest, rest)
	row("total", "", size, size)
	if err := t.Flush(); err != nil {
		return err
	}
	goal, limit := bounds.GoalMiB<<20, bounds.LimitMiB<<20
	_, err := fmt.Fprintf(w, "\ngoal  %s: %s\nlimit %s: %s\n", mebibytes(goal), against(size, goal), mebibytes(limit), against(size, limit))
	return err
}

func against(size, bound int64) string {
	if size > bound {
		return mebibytes(size-bound) + " above"
	}
	return mebibytes(bound-size) + " below"
}
