// Package gpt reads and writes GUID partition tables (UEFI Specification 2.10,
// chapter 5) on anything that can be read and written at an offset: an image
// file while it is built, the running machine's disk at its first boot.
//
// A table is read with Read, which falls back to the backup copy when the
// primary one is damaged, changed in memory, and stored with Table.Write, which
// orders its writes so that a power cut at any point leaves one whole copy.
// The package does no I/O of its own and needs no privileges.
package gpt
