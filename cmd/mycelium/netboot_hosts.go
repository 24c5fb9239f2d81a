package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/netboot"
)

// hostFlags are what the command line says of the machines' configurations.
type hostFlags struct {
	config  string
	dir     string
	hosts   []string
	only    bool
	install []string
	network contextFlags
	invite  string
}

func (f *hostFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "configuration of every machine without one of its own")
	flags.StringVar(&f.dir, "hosts", "", "directory of machines' own configurations: aa-bb-cc-dd-ee-ff.yaml")
	flags.StringArrayVar(&f.hosts, "host", nil, "MAC=FILE, a machine's own configuration; can be given several times")
	flags.BoolVar(&f.only, "only-hosts", false, "answer no other machines than those with a configuration of their own")
	flags.StringArrayVar(&f.install, "install", nil, "[MAC=]DISK: install onto auto (the only disk, blank or ours), a disk such as sda, wipe:sda, or no; can be given several times")
	flags.StringVar(&f.network.network, "network", "", "the network that the machines are for")
	flags.StringVar(&f.invite, "invite", "", "a number: make a token that lets so many machines in as agents, for a day; or a file with one of \"mycelium invite\" (- is standard input)")
	if err := cmd.RegisterFlagCompletionFunc("network", completeNetworks); err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
}

// bootHosts says what each machine is given. Files are read anew at each boot.
type bootHosts struct {
	common  string // path, or empty
	dir     string // path, or empty
	files   map[netboot.MAC]string
	only    bool
	install string
	disks   map[netboot.MAC]string
	network identity.NetworkID // zero for none
	token   identity.Token
}

// read checks everything that there is, so that mistakes show before a machine boots.
func (f *hostFlags) read(cmd *cobra.Command) (*bootHosts, error) {
	h := &bootHosts{common: f.config, dir: f.dir, only: f.only, files: map[netboot.MAC]string{}, disks: map[netboot.MAC]string{}}
	if err := f.readMembership(cmd, h); err != nil {
		return nil, err
	}
	for _, text := range f.hosts {
		name, path, ok := strings.Cut(text, "=")
		mac, err := netboot.ParseMAC(name)
		if err != nil || !ok || path == "" {
			return nil, fmt.Errorf("--host %s: write MAC=FILE, such as aa:bb:cc:dd:ee:ff=node.yaml", text)
		}
		h.files[mac] = path
	}
	for _, text := range f.install {
		if err := h.setInstall(text); err != nil {
			return nil, err
		}
	}
	if err := h.checkDir(); err != nil {
		return nil, err
	}
	if f.only && f.dir == "" && len(f.hosts) == 0 {
		return nil, errors.New("--only-hosts needs --host or --hosts: else no machine is answered")
	}
	if _, err := h.given(netboot.MAC{}); err != nil {
		return nil, err
	}
	for mac := range h.files {
		if _, err := h.host(mac); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (f *hostFlags) readMembership(cmd *cobra.Command, h *bootHosts) error {
	if f.network.network == "" {
		if f.invite != "" {
			return errors.New("--invite is of use together with --network NAME alone")
		}
		return nil
	}
	n, err := f.network.openStale(cmd)
	if err != nil {
		return err
	}
	h.network = n.Verifier.Network()
	n.Close()
	if f.invite == "" {
		return nil
	}
	if uses, number := strconv.Atoi(f.invite); number == nil {
		h.token, _, err = invite(cmd, &f.network, false, inviteTerms{identity.Agent, uses, inviteValid})
		return err
	}
	h.token, err = readInvite(cmd, f.invite, h.network)
	return err
}

// inviteValid is how long a token that the server has made lets machines in.
const inviteValid = 24 * time.Hour

// setInstall takes an --install.
func (h *bootHosts) setInstall(text string) error {
	mac, disk, one := netboot.MAC{}, text, false
	if name, rest, ok := strings.Cut(text, "="); ok {
		var err error
		if mac, err = netboot.ParseMAC(name); err != nil {
			return fmt.Errorf("--install %s: %w", text, err)
		}
		disk, one = rest, true
	}
	named := strings.TrimPrefix(disk, "wipe:")
	if !config.ValidDisk(named) || strings.ContainsFunc(named, notInDisk) {
		return fmt.Errorf("--install %s: write auto, no, a disk such as sda, or wipe:sda to overwrite what is on it", text)
	}
	if disk == "no" {
		disk = ""
	}
	if one {
		h.disks[mac] = disk
	} else {
		h.install = disk
	}
	return nil
}

// notInDisk: what would not get through iPXE and a kernel's command line.
func notInDisk(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.:", r)
}

// checkDir reads every file of --hosts.
func (h *bootHosts) checkDir() error {
	if h.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return fmt.Errorf("read --hosts: %w", err)
	}
	for _, e := range entries {
		name, yaml := strings.CutSuffix(e.Name(), ".yaml")
		mac, err := netboot.ParseMAC(name)
		if !yaml || err != nil || mac.FileName() != name {
			return fmt.Errorf("--hosts %s: the name of %s is not that of a machine: write aa-bb-cc-dd-ee-ff.yaml", h.dir, e.Name())
		}
		if _, err := h.host(mac); err != nil {
			return err
		}
	}
	return nil
}

// own returns the path of a machine's own configuration, empty for none.
func (h *bootHosts) own(mac netboot.MAC) string {
	if path := h.files[mac]; path != "" || h.dir == "" {
		return path
	}
	path := filepath.Join(h.dir, mac.FileName()+".yaml")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return path
}

// knows reports whether the machine is one to answer.
func (h *bootHosts) knows(mac netboot.MAC) bool { return !h.only || h.own(mac) != "" }

// errUnknownHost is why a machine gets nothing.
var errUnknownHost = errors.New("it is none of those named (--only-hosts)")

// host returns what the machine is given, if it is one to answer.
func (h *bootHosts) host(mac netboot.MAC) (netboot.Host, error) {
	if !h.knows(mac) {
		return netboot.Host{}, errUnknownHost
	}
	return h.given(mac)
}

// disk returns what the machine installs onto, empty for nothing.
func (h *bootHosts) disk(mac netboot.MAC) string {
	if disk, ok := h.disks[mac]; ok {
		return disk
	}
	return h.install
}

// installs reports whether the machine is to install itself.
func (h *bootHosts) installs(mac netboot.MAC) bool { return h.disk(mac) != "" }

func (h *bootHosts) given(mac netboot.MAC) (netboot.Host, error) {
	host := netboot.Host{Install: h.disk(mac)}
	path := h.own(mac)
	if path == "" {
		path = h.common
	}
	c := config.Default()
	if path != "" {
		document, err := os.ReadFile(path)
		if err != nil {
			return host, fmt.Errorf("read a machine's configuration: %w", err)
		}
		if c, err = config.Parse(document); err != nil {
			return host, fmt.Errorf("%s: %w", path, err)
		}
		host.Config = document
	}
	if h.network == (identity.NetworkID{}) || c.Membership.Network != "" || c.Membership.Invite != "" {
		return host, nil // a document's own membership stands
	}
	c.Membership.Network = h.network.String()
	if !h.token.IsZero() {
		c.Membership.Invite = config.Secret(h.token.Reveal())
	}
	document, err := c.Document()
	host.Config = document
	return host, err
}
