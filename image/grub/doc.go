// Package grub puts GRUB on a board's disk for machines that start by BIOS: boot code for
// the first sector and a core image for the BIOS boot partition, with the script that
// chooses the slot inside. It installs no file that GRUB would have to find: the only one
// that it reads is its environment block on the EFI system partition.
//
// The boot code and the core image are made as grub-install makes them, without a
// machine to install on: see [Files.Place].
package grub
