// Package netboot starts computers from the network: the answers of DHCP (as a
// proxy beside another server, or as the only one), TFTP and HTTP by which
// firmware gets iPXE, and iPXE an operating system's one EFI file.
//
//	firmware        by itself gets            then iPXE gets
//	BIOS            undionly.kpxe (TFTP)      /script/MAC/bios-amd64, kernel and initramfs
//	UEFI, PXE       snponly.efi (TFTP)        /script/MAC/efi-amd64, the EFI file
//	UEFI, HTTP      snponly.efi (HTTP)        the same
//	iPXE            the script (HTTP)
//	Raspberry Pi    the files of Config.Pi, its command line among them (TFTP)
//
// [Decide] is the whole of DHCP, a function from a packet to an answer; what it
// has to remember is in [Leases]. [Handler] is the HTTP side, and [Machines] what
// is known of each machine. [Serve] connects them to an interface's sockets,
// on Linux: bound to it, so that no other interface is heard or answered on.
//
// Nothing on the segment can be trusted, and nothing here authenticates it.
// What a machine gets that is for it alone (its configuration) needs the word
// from its script, comes to its own hardware address only ([Config].Neighbour)
// and a few times: this keeps honest machines apart, and stops nobody who can
// send packets with another's address.
//
// Formats: RFC 2131 and 2132 (DHCP), RFC 4578 and 5970 (architectures), the PXE
// specification 2.1 (vendor options, proxy, port 4011), UEFI 2.10 section 24.7
// (HTTP boot), RFC 1350, 2348, 2349 (TFTP with block size and file size).
package netboot
