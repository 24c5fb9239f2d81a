// Package ext4 says where a file system of that kind keeps its superblocks, for programs
// that take care that an old one is not found again.
//
// Source: Linux, Documentation/filesystems/ext4, "Super Block" and "Flexible Block
// Groups" (sparse_super).
package ext4

// SuperblockSize is a superblock's, in bytes.
const SuperblockSize = 1024

// Copies returns where on a partition of size bytes copies of the superblock may be, in
// bytes, for each block size that mke2fs uses: at the beginning of the block groups 1 and
// the powers of 3, 5 and 7 (sparse_super). The superblock itself, at byte 1024, is not
// among them, and the offsets are in no order.
func Copies(size int64) []int64 {
	var offsets []int64
	for _, blockSize := range []int64{1024, 2048, 4096} {
		firstBlock := int64(0)
		if blockSize == 1024 {
			firstBlock = 1
		}
		add := func(group int64) bool {
			off := (group*8*blockSize + firstBlock) * blockSize // a group's bitmap is one block
			if off >= size {
				return false
			}
			offsets = append(offsets, off)
			return true
		}
		add(1)
		for _, base := range []int64{3, 5, 7} {
			for group := base; add(group); group *= base {
			}
		}
	}
	return offsets
}
