package fat

import "fmt"

const (
	firstCluster = 2 // clusters are numbered from 2
	minFAT16     = 4085
	minFAT32     = 65525
	align        = 8 // sectors: the data area begins on 4 KiB
)

// geometry is where the parts of a file system lie, in sectors.
type geometry struct {
	fat32             bool
	sectors           uint32
	reserved          uint32 // boot sector and what follows it up to the first FAT
	fatSectors        uint32 // one copy
	rootEntries       int    // FAT16: entries of the fixed root directory
	sectorsPerCluster uint32
	clusters          uint32
}

func (g geometry) clusterBytes() int64 { return int64(g.sectorsPerCluster) * sectorSize }

// rootSectors is the size of FAT16's fixed root directory.
func (g geometry) rootSectors() uint32 { return uint32(g.rootEntries) * entrySize / sectorSize }

// dataStart is the sector of the first cluster.
func (g geometry) dataStart() uint32 { return g.reserved + 2*g.fatSectors + g.rootSectors() }

// sector returns where cluster n begins.
func (g geometry) sector(n uint32) uint32 {
	return g.dataStart() + (n-firstCluster)*g.sectorsPerCluster
}

// layout chooses FAT16 or FAT32 and the cluster size for a file system of size bytes.
func layout(size int64) (geometry, error) {
	if size%sectorSize != 0 || size/sectorSize > 1<<32-1 {
		return geometry{}, fmt.Errorf("file system of %d bytes: want a multiple of %d below 2 TiB", size, sectorSize)
	}
	sectors := uint32(size / sectorSize)
	const mib = 1 << 20
	if size >= 36*mib {
		spc := uint32(1)
		switch {
		case size > 32<<30:
			spc = 64
		case size > 16<<30:
			spc = 32
		case size > 8<<30:
			spc = 16
		case size > 260*mib:
			spc = 8
		}
		g := fit(geometry{fat32: true, sectors: sectors, reserved: 32, sectorsPerCluster: spc})
		if g.clusters >= minFAT32 {
			return g, nil
		}
	}
	for spc := uint32(1); spc <= 64; spc *= 2 {
		g := fit(geometry{sectors: sectors, reserved: 1, rootEntries: 512, sectorsPerCluster: spc})
		if g.clusters >= minFAT16 && g.clusters < minFAT32 {
			return g, nil
		}
	}
	return geometry{}, fmt.Errorf("file system of %d bytes: too small for FAT16 (2.2 MB)", size)
}

// fit computes the size of the FATs, and widens the reserved area so that the
// data begin on a multiple of align.
func fit(g geometry) geometry {
	width := uint32(2)
	if g.fat32 {
		width = 4
	}
	for {
		if g.dataStart() >= g.sectors {
			g.clusters = 0
			return g
		}
		g.clusters = (g.sectors - g.dataStart()) / g.sectorsPerCluster
		need := (uint32((uint64(g.clusters)+firstCluster)*uint64(width)+sectorSize-1) / sectorSize)
		if need <= g.fatSectors {
			break
		}
		g.fatSectors = need
	}
	if over := g.dataStart() % align; over != 0 {
		g.reserved += align - over
		g.clusters = (g.sectors - min(g.sectors, g.dataStart())) / g.sectorsPerCluster
	}
	return g
}
