// Package repository makes the files of a release server, for package release.
//
// A repository is a directory. metadata/ and targets/ are what a server serves;
// staged/ holds metadata that is being made and that not all have signed yet. It
// can be carried from one signer to the next as it is.
//
//	Create, Add, Withdraw, Renew or Rotate ──▶ staged ── Sign, by each signer ──▶ Publish
//
// The snapshot names the targets file by its digest, so it is made when the
// targets have all their signatures, and likewise the timestamp after the snapshot. A
// Sign with a key that counts for several roles goes through them in that order.
//
// Publish writes files of new names first and timestamp.json last: whoever
// reads meanwhile sees the releases before or after, and no mix of them.
package repository
