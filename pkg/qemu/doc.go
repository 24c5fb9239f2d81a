// Package qemu runs machines, and networks of them, in QEMU on the developer's
// own computer: without root, without a daemon, everything on 127.0.0.1 and in
// one directory.
//
// A Node is one machine: a directory that holds its disk, firmware variables,
// serial log and process record, and the operations that a person would do to
// a machine on the desk: press the power button, pull the plug (Kill), pull a
// network cable (SetLink), look at the serial console. A Network is several
// nodes with a common LAN segment and a configuration for each, members of one
// network of package networks, in which they form one cluster.
//
//	net, err := qemu.Create(ctx, dir, qemu.NetworkSpec{Name: "home", Nodes: 3, Node: qemu.NodeSpec{Image: "disk.img"}})
//	err = net.Start(ctx, qemu.StartOptions{})
//	node := net.Nodes()[0]
//	_, err = node.WaitConsole(ctx, regexp.MustCompile(`phase running`))
//	err = node.Kill(ctx)                       // power cut
//	err = node.Start(ctx)                      // the same disk again
//	err = net.Down(ctx, qemu.DownOptions{})    // nothing remains
//
// QEMU's processes outlive the process that started them; another process
// attaches with Open.
package qemu
