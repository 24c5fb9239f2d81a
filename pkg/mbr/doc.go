// Package mbr reads and writes the partition table of the old kind: four entries in
// the first sector of a disk, one of which may be an extended partition with a chain
// of logical ones in it. There are firmwares that start a system reliably from no
// other, the Raspberry Pi's among them.
//
// An MBR has neither labels nor types of one's own. View lends both to the partitions
// of a Digital Mycelium OS disk, so that what works on a gpt.Table works on it.
//
// The layout of both sectors is that of the UEFI Specification 2.10, 5.2.1, and of what
// Linux reads (block/partitions/msdos.c). Sectors have 512 bytes; a partition begins
// and ends within the first 2 TiB.
package mbr
