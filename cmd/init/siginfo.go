package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siginfoPID returns si_pid of a siginfo_t that waitid(2) filled: the first
// field of the union, which begins at 16 on 64-bit machines and at 12 on others.
func siginfoPID(info *unix.Siginfo) int {
	offset := uintptr(12)
	if unsafe.Sizeof(uintptr(0)) == 8 {
		offset = 16
	}
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset)))
}
