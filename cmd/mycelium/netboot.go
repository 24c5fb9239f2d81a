package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/digital-mycelium/os/pkg/netboot"
)

func newNetbootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "netboot",
		Short: "Start machines over the network",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newNetbootServeCommand())
	return cmd
}

// netbootFlags are what the command line says of a server.
type netbootFlags struct {
	interfaces, images []string
	loaders            string
	leases             string
	router, dns        string
	httpPort           int
	state              string
	again              []string
	hosts              hostFlags
}

// defaultHTTPPort is where HTTP is served: no service's usual port.
const defaultHTTPPort = 6469

func newNetbootServeCommand() *cobra.Command {
	var o netbootFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer machines that boot over the network (PXE, UEFI HTTP boot, Raspberry Pi)",
		Long: `Answer machines that boot over the network, by PXE, UEFI HTTP boot and a Raspberry
Pi's own way, on the interfaces that are named and no others.

By default it stands beside the segment's DHCP server, which goes on giving the
addresses. With --dhcp it gives them itself: for a bench where nothing else does.

A machine runs from its memory, or with --install puts the system onto a disk;
once that is done it is sent on to its disk (a Raspberry Pi only runs from its
memory). Its configuration is the document of
--host or --hosts, else of --config; --network and --invite put the membership
in. docs/NETBOOT.md says what others on the segment can see.`,
		Example: `  mycelium netboot serve --interface eth1 --image out/qemu-amd64
  mycelium netboot serve --interface eth1 --image out/rpi --hosts machines/
  mycelium netboot serve --interface eth1 --dhcp 192.168.77.100-192.168.77.199 --image out/pc --network home --invite token --install auto`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.serve(cmd) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.interfaces, "interface", nil, "interface to answer on; can be given several times")
	f.StringArrayVar(&o.images, "image", nil, "directory of a board's image, as \"mycelium image build\" makes it; one for each architecture, and one for Raspberry Pis")
	f.StringVar(&o.loaders, "loaders", "", "directory of \"mycelium image netboot\" (default: netboot beside the first image's directory)")
	f.StringVar(&o.leases, "dhcp", "", "be the segment's DHCP server for this range, FIRST-LAST")
	f.StringVar(&o.router, "router", "", "with --dhcp: the segment's router (default: none)")
	f.StringVar(&o.dns, "dns", "", "with --dhcp: the name server (default: none)")
	f.IntVar(&o.httpPort, "http-port", defaultHTTPPort, "TCP port of HTTP")
	f.StringVar(&o.state, "state", "", "file that remembers which machines are installed (default $XDG_STATE_HOME/mycelium/netboot.json)")
	f.StringArrayVar(&o.again, "again", nil, "a machine (its MAC) that is to install itself once more; can be given several times")
	o.hosts.register(cmd)
	for _, name := range []string{"interface", "image"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a misspelt name above
		}
	}
	return cmd
}

func (o *netbootFlags) serve(cmd *cobra.Command) error {
	hosts, err := o.hosts.read(cmd)
	if err != nil {
		return err
	}
	images, closeImages, err := openBootImages(o.images)
	if err != nil {
		return err
	}
	defer closeImages()
	if images.pi != nil && len(images.byArch) == 0 && hosts.install != "" {
		return fmt.Errorf("--install %s: %w", hosts.install, netboot.ErrPiInstall)
	}
	loaders, err := o.openLoaders(images)
	if err != nil {
		return err
	}
	if o.leases != "" && len(o.interfaces) > 1 {
		return errors.New("--dhcp serves one --interface: its range lies in one network")
	}
	machines := &netboot.Machines{}
	state, err := o.openState(machines)
	if err != nil {
		return err
	}
	view := newNetbootView(cmd.OutOrStdout())
	defer view.close()
	log := slog.New(slog.NewTextHandler(view.log(cmd.ErrOrStderr()), nil))
	machines.Changed = func(m netboot.Machine) {
		if err := state.keep(m); err != nil {
			log.Error("which machines are installed is not remembered", "error", err)
		}
		view.see(m)
	}
	g, ctx := errgroup.WithContext(cmd.Context())
	for _, name := range o.interfaces {
		n, err := o.network(name)
		if err != nil {
			return err
		}
		n.Serves = func(c netboot.Client) (bool, string) { return serves(c, images, loaders, hosts) }
		c := &netboot.Config{Network: n, Images: images.byArch, Pi: images.pi, Loaders: loaders, Host: hosts.host, Machines: machines, Log: log}
		fmt.Fprintln(cmd.OutOrStdout(), announcement(name, n, images))
		g.Go(func() error { return netboot.Serve(ctx, name, c) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("serve network boot: %w", err)
	}
	return nil
}

// announcement says what is served where.
func announcement(name string, n netboot.Network, images *bootImages) string {
	how := "beside the DHCP server there"
	if n.Leases != nil {
		how = "as its DHCP server"
	}
	return fmt.Sprintf("%s, %s: answering %s, with %s", name, n.Server.Addr(), how, strings.Join(images.names(), " and "))
}

// serves says whether a machine can be given something.
func serves(c netboot.Client, images *bootImages, loaders fs.FS, hosts *bootHosts) (bool, string) {
	if !hosts.knows(c.MAC) {
		return false, errUnknownHost.Error()
	}
	if c.Way == netboot.Pi {
		return servesPi(c, images, hosts)
	}
	if images.byArch[c.Platform.Arch] == nil {
		return false, fmt.Sprintf("there is no --image for %s", c.Platform)
	}
	if c.Way == netboot.IPXE {
		return true, ""
	}
	if _, err := fs.Stat(loaders, c.Platform.Loader()); err != nil {
		return false, fmt.Sprintf("no loader for %s: %v", c.Platform, err)
	}
	return true, ""
}

// servesPi is serves for a Raspberry Pi's own network boot.
func servesPi(c netboot.Client, images *bootImages, hosts *bootHosts) (bool, string) {
	if images.pi == nil {
		return false, "there is no --image for a Raspberry Pi: give that of the board rpi, too"
	}
	if hosts.installs(c.MAC) {
		return false, fmt.Sprintf("%v (--install %s=no)", netboot.ErrPiInstall, c.MAC)
	}
	return true, ""
}

// network is what the command line says of an interface.
func (o *netbootFlags) network(name string) (netboot.Network, error) {
	server, err := interfaceAddress(name)
	if err != nil {
		return netboot.Network{}, err
	}
	if o.httpPort < 1 || o.httpPort > 65535 {
		return netboot.Network{}, fmt.Errorf("--http-port %d is no port", o.httpPort)
	}
	n := netboot.Network{Server: server, HTTPPort: o.httpPort}
	for _, a := range []struct {
		flag, text string
		to         *netip.Addr
	}{{"router", o.router, &n.Router}, {"dns", o.dns, &n.DNS}} {
		if a.text == "" {
			continue
		}
		if *a.to, err = netip.ParseAddr(a.text); err != nil || !a.to.Is4() {
			return n, fmt.Errorf("--%s %q is no IPv4 address", a.flag, a.text)
		}
		if o.leases == "" {
			return n, fmt.Errorf("--%s is of use together with --dhcp alone", a.flag)
		}
	}
	if o.leases != "" {
		n.Leases, err = netboot.NewLeases(o.leases, server)
	}
	return n, err
}

// interfaceAddress returns the interface's first IPv4 address.
func interfaceAddress(name string) (netip.Prefix, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("interface %s: %w: `ip link` lists them", name, err)
	}
	addresses, err := i.Addrs()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("interface %s: %w", name, err)
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("interface %s has no IPv4 address: give it one, such as with `ip address add 192.168.77.1/24 dev %s`", name, name)
}

// openLoaders opens the directory of what firmware starts first, and checks that what
// is needed for the images is there.
func (o *netbootFlags) openLoaders(images *bootImages) (fs.FS, error) {
	dir := o.loaders
	if dir == "" {
		dir = filepath.Join(filepath.Dir(filepath.Clean(o.images[0])), netbootDir)
	}
	files, names := os.DirFS(dir), []string(nil)
	for arch := range images.byArch {
		names = append(names, netboot.Platform{Arch: arch, EFI: true}.Loader())
	}
	if images.pi != nil {
		names = append(names, netboot.PiLoader)
	}
	for _, name := range names {
		if _, err := fs.Stat(files, name); err != nil {
			return nil, fmt.Errorf("find the loader %s: %w: make the directory with `mycelium image netboot --out %s`, or name it with --loaders", name, err, dir)
		}
	}
	return files, nil
}

// lockedWriter lets log lines and a live view share a terminal.
type lockedWriter struct {
	w      io.Writer
	around func(func())
}

func (l lockedWriter) Write(b []byte) (n int, err error) {
	l.around(func() { n, err = l.w.Write(b) })
	return n, err
}
