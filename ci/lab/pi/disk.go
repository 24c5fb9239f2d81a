package pi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// card is a disk image as the field's tools see it.
type card struct {
	path       string
	partitions []partition
}

type partition struct {
	Start, Size int64 // sectors
	Type        string
	Node        string
}

// openDisk reads the partition table with sfdisk.
func openDisk(ctx context.Context, path string) (*card, error) {
	out, err := run(ctx, "fdisk", "sfdisk", "--json", path)
	if err != nil {
		return nil, err
	}
	var table struct {
		PartitionTable struct {
			Label      string
			SectorSize int64
			Partitions []partition
		}
	}
	if err := json.Unmarshal(out, &table); err != nil {
		return nil, fmt.Errorf("read what sfdisk says: %w", err)
	}
	if t := table.PartitionTable; t.Label != "dos" || t.SectorSize != 512 {
		return nil, fmt.Errorf("a partition table %q with sectors of %d bytes: want an MBR", t.Label, t.SectorSize)
	}
	return &card{path, table.PartitionTable.Partitions}, nil
}

// fat returns the FAT partition with a number.
func (d *card) fat(number int) (partition, error) {
	if number < 1 || number > 4 {
		return partition{}, fmt.Errorf("partition %d: the firmware starts 1 to 4", number)
	}
	for _, p := range d.partitions {
		if !strings.HasSuffix(p.Node, fmt.Sprint(d.path, number)) && !strings.HasSuffix(p.Node, fmt.Sprint(d.path, "p", number)) {
			continue
		}
		switch p.Type {
		case "1", "4", "6", "b", "c", "e":
			return p, nil
		}
		return partition{}, fmt.Errorf("partition %d has the type %s, which is not FAT", number, p.Type)
	}
	return partition{}, fmt.Errorf("there is no partition %d", number)
}

// errNoFile says that a file system does not have a file.
var errNoFile = errors.New("no such file")

// read returns a file's content.
func (d *card) read(ctx context.Context, p partition, name string) ([]byte, error) {
	image := fmt.Sprintf("%s@@%d", d.path, p.Start*512)
	if _, err := run(ctx, "mtools", "mdir", "-i", image, "::"+name); err != nil {
		return nil, fmt.Errorf("%s: %w (%w)", name, errNoFile, err)
	}
	return run(ctx, "mtools", "mcopy", "-n", "-i", image, "::"+name, "-")
}

func run(ctx context.Context, pkg, tool string, args ...string) ([]byte, error) {
	if _, err := exec.LookPath(tool); err != nil {
		return nil, fmt.Errorf("%w: apt-get install %s", err, pkg)
	}
	out, err := exec.CommandContext(ctx, tool, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s %s: %w: %s", tool, strings.Join(args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}
