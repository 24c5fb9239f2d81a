// Package delta gets a new version of a large file onto a machine such that only
// what the machine lacks crosses the network.
//
// The file's Index names its chunks, which are cut where the content says so: a
// byte that is put in moves the cuts after it along, and the chunks stay the same.
// Fetch puts the file together from what an interrupted try has left, from files
// that the machine has, from peers, and last from the server. Each chunk is compared with
// its SHA-256 before it counts, and the file with its own at the end, so no source
// has to be trusted; that the Index is the right one is for the caller to know.
//
// Machines that fetch the same file at once spare the server: one of them loads
// from it, the others wait for that one and load from it (see decide). Handler
// is what they ask each other, HTTPPeer asks it.
//
// The state of a fetch is the part file itself: it is hashed again when the fetch
// goes on, so a kill or a power cut at any moment costs what the disk had not
// taken, and a damaged part is loaded again.
package delta
