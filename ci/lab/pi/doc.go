// Package pi does what a Raspberry Pi's firmware does between power-on and the kernel,
// by its documentation, with a disk image: which partition it starts, which files it
// reads there, and what it tells the kernel. QEMU has the machines, but not their
// firmware; it is given what Choose returns.
//
// Sources: Raspberry Pi documentation, "config.txt" (autoboot.txt, boot options,
// conditional filters), "Boot flow" and "Device trees, overlays, and parameters"
// (bootloader properties). What our configuration does not use is refused, so that a
// test does not pass by a rule that is missing here.
//
// The disk is read with the field's own tools, sfdisk and mtools, and not by the code
// that has written it.
package pi
