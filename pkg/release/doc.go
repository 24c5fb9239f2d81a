// Package release says which versions of an operating system its owner has
// released, and refuses whatever anybody else says about that.
//
// A server holds plain files in the form of The Update Framework (TUF, the
// specification at theupdateframework.io, version 1.0): any HTTP server, a
// directory, a USB stick. A few keys of the owner's sign four kinds of metadata;
// how many of a role's keys must have signed is its threshold.
//
//	root ──── says which keys count for what; each version is signed by the one before
//	targets ─ names the files of each release by size and SHA-256
//	snapshot  names the version of targets that is in force
//	timestamp names the snapshot in force, and is renewed often
//
// A Client on a machine starts from the digest of the first root file, which is all
// that the machine is configured with, and remembers what it has seen: nobody
// can take it back to earlier metadata, keep it on metadata that has expired, mix
// metadata of two moments or feed it without end, also across reboots.
// In the idle case a Refresh is one conditional request.
//
// What may be told about a release beyond TUF (the board, channels, waves,
// whether it may be a downgrade) is signed with it and stands in Release.
//
// Package repository, below this one, makes such a server's files.
package release
