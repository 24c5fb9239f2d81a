package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/image/uki/ukitest"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/netboot"
)

// bootDir makes a directory as "mycelium image build" does.
func bootDir(t *testing.T, line string) string {
	t.Helper()
	data, err := uki.Build(uki.Parts{
		Stub: ukitest.Stub(5), OSRelease: "ID=mycelium\nVERSION_ID=\"1.2.3\"\nVARIANT_ID=test\n", CmdLine: line, Uname: "6.12.1",
		Linux: []byte("linux"), Initrd: []byte("initrd"),
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "test")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, image.OSFile), data, 0o644)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOpenBootImages(t *testing.T) {
	dir := bootDir(t, "console=ttyS0")
	images, closeAll, err := openBootImages([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll()
	i := images.byArch["amd64"]
	if i == nil || i.Name != "test 1.2.3" || i.CommandLine != "console=ttyS0" || i.Linux.Size() != 5 || i.Initrd.Size() != 6 || len(i.SHA256) != 64 {
		t.Errorf("%+v", i)
	}
	for want, dirs := range map[string][]string{
		"there is one for amd64 already": {dir, bootDir(t, "quiet")},
		"mycelium image build":           {t.TempDir()},
		"cannot be passed on by iPXE":    {bootDir(t, "a=${b}")},
	} {
		if _, _, err := openBootImages(dirs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// piDir makes a directory as "mycelium image build" does for a Raspberry Pi.
func piDir(t *testing.T) string {
	t.Helper()
	data, err := uki.BuildPieces(uki.Piecewise{
		Parts: uki.Parts{
			OSRelease: "ID=mycelium\nVERSION_ID=\"1.2.3\"\nVARIANT_ID=rpi\n", CmdLine: "console=tty0", Uname: "7.2.1",
			Linux: []byte("linux"), Initrd: []byte("initrd"),
		},
		Machine: 0xaa64, Files: []uki.NamedFile{{Name: "config.txt", Content: []byte("arm_64bit=1\n")}, {Name: "start4.elf", Content: []byte("start")}},
		CmdLineName: "cmdline.txt", InitrdName: "initramfs", LinuxName: "kernel8.img",
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "rpi")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, image.OSFile), data, 0o644)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOpenPiImage: a Raspberry Pi's firmware gets the pieces of the OS file, and a
// command line with what the machine is given.
func TestOpenPiImage(t *testing.T) {
	dir := piDir(t)
	images, closeAll, err := openBootImages([]string{bootDir(t, "quiet"), dir})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll()
	if got := strings.Join(images.names(), ", "); got != "rpi 1.2.3, test 1.2.3" || images.byArch["arm64"] != nil {
		t.Errorf("images: %s", got)
	}
	mac := netboot.MAC{0xdc, 0xa6, 0x32, 1, 2, 3}
	c := &netboot.Config{
		Network: netboot.Network{Server: netip.MustParsePrefix("192.168.77.1/24"), HTTPPort: 6469}, Pi: images.pi,
		Host:      func(netboot.MAC) (netboot.Host, error) { return netboot.Host{Config: []byte("document")}, nil },
		Neighbour: func(netip.Addr) (netboot.MAC, error) { return mac, nil }, Machines: &netboot.Machines{},
	}
	for name, want := range map[string]string{
		"9f3a1b2c/config.txt": "arm_64bit=1\n", "start4.elf": "start", "9f3a1b2c/kernel8.img": "linux", "initramfs": "initrd",
		"cmdline.txt": "console=tty0 mycelium.live mycelium.config=http://192.168.77.1:6469/config?t=",
	} {
		f, size, err := c.OpenTFTP(name, netip.MustParseAddr("192.168.77.5"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		content, err := io.ReadAll(f)
		if err != nil || !strings.HasPrefix(string(content), want) || size != int64(len(content)) {
			t.Errorf("%s: %q of %d bytes, %v", name, content, size, err)
		}
	}
	if m := c.Machines.List(); len(m) != 1 || m[0].MAC != mac || m[0].Way != netboot.Pi {
		t.Errorf("%+v", m)
	}
	if _, _, err := openBootImages([]string{dir, dir}); err == nil || !strings.Contains(err.Error(), "for Raspberry Pis already") {
		t.Errorf("two of them: %v", err)
	}
}

// readHosts reads flags as "netboot serve" does.
func readHosts(t *testing.T, args ...string) (*bootHosts, error) {
	t.Helper()
	var f hostFlags
	cmd := &cobra.Command{}
	f.register(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return f.read(cmd)
}

const document = "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostname: "

func TestBootHosts(t *testing.T) {
	d := newDesk(t)
	d.run("network create home --recipient " + d.recipient)
	token, _ := d.run("invite --network home --uses 2 --local")
	dir := filepath.Join(d.dir, "hosts")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.write("hosts/02-00-00-00-00-01.yaml", document+"by-dir\n")
	h, err := readHosts(t, "--config", d.write("all.yaml", document+"all\n"), "--hosts", dir,
		"--host", "02:00:00:00:00:02="+d.write("two.yaml", document+"by-flag\n"),
		"--install", "auto", "--install", "02:00:00:00:00:02=wipe:nvme0n1", "--install", "02:00:00:00:00:03=no",
		"--network", "home", "--invite", d.write("token", token))
	if err != nil {
		t.Fatal(err)
	}
	for mac, want := range map[string]struct{ hostname, install string }{
		"02:00:00:00:00:01": {"by-dir", "auto"},
		"02:00:00:00:00:02": {"by-flag", "wipe:nvme0n1"},
		"02:00:00:00:00:03": {"all", ""},
	} {
		m, err := netboot.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		got, err := h.host(m)
		if err != nil {
			t.Errorf("%s: %v", mac, err)
			continue
		}
		c, err := config.Parse(got.Config)
		if err != nil || c.Hostname != want.hostname || got.Install != want.install || !strings.HasPrefix(c.Membership.Network, "myc1-") ||
			c.Membership.Invite.Reveal() != strings.TrimSpace(token) {
			t.Errorf("%s: %+v, %q, %v", mac, c, got.Install, err)
		}
	}
	// A file that is changed while the server runs counts at the next boot, also a wrong one.
	d.write("hosts/02-00-00-00-00-01.yaml", "hostnam: x\n")
	if _, err := h.host(netboot.MAC{2, 0, 0, 0, 0, 1}); err == nil || !strings.Contains(err.Error(), "02-00-00-00-00-01.yaml") {
		t.Errorf("a wrong file: %v", err)
	}
}

func TestBootHostsMakeAnInvite(t *testing.T) {
	d := newDesk(t)
	d.run("network create home --recipient " + d.recipient)
	h, err := readHosts(t, "--network", "home", "--invite", "3")
	if err != nil {
		t.Fatal(err)
	}
	if inv := h.token.Invite(); inv.Uses != 3 || inv.Network != h.network {
		t.Errorf("%+v", inv)
	}
	if _, err := readHosts(t, "--network", "home", "--invite", "0"); err == nil || !strings.Contains(err.Error(), "want 1 to") {
		t.Errorf("%v", err)
	}
}

func TestBootHostsWithout(t *testing.T) {
	h, err := readHosts(t)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.host(netboot.MAC{1}); err != nil || got.Config != nil || got.Install != "" || !h.knows(netboot.MAC{1}) {
		t.Errorf("%+v, %v", got, err)
	}
	d := newDesk(t)
	own := d.write("own.yaml", document+"own\nmembership:\n  network: myc1-a34p-zeyw-39ud-ru8h-g58r-vz55-6c3r-2v0r\n")
	h, err = readHosts(t, "--only-hosts", "--host", "02:00:00:00:00:02="+own)
	if err != nil {
		t.Fatal(err)
	}
	if h.knows(netboot.MAC{1}) || !h.knows(netboot.MAC{2, 0, 0, 0, 0, 2}) {
		t.Error("who is known")
	}
	if _, err := h.host(netboot.MAC{1}); !errors.Is(err, errUnknownHost) {
		t.Errorf("one that is not: %v", err)
	}
}

func TestBootHostsRefuse(t *testing.T) {
	d := newDesk(t)
	wrong, dir := d.write("wrong.yaml", "hostnam: x\n"), filepath.Join(d.dir, "hosts")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.write("hosts/kitchen.yaml", document+"kitchen\n")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"write MAC=FILE", []string{"--host", "kitchen"}},
		{"write MAC=FILE", []string{"--host", "02:00:00:00:00:01"}},
		{"wrong.yaml", []string{"--config", wrong}},
		{"wrong.yaml", []string{"--host", "02:00:00:00:00:01=" + wrong}},
		{"kitchen.yaml", []string{"--hosts", dir}},
		{"read --hosts", []string{"--hosts", filepath.Join(d.dir, "absent")}},
		{"--only-hosts needs", []string{"--only-hosts"}},
		{"--network NAME alone", []string{"--invite", "token"}},
		{"write auto, no", []string{"--install", "/dev/sda"}},
		{"write auto, no", []string{"--install", "sda quiet"}},
		{"write auto, no", []string{"--install", "wipe:"}},
		{"hardware address", []string{"--install", "kitchen=auto"}},
	} {
		if _, err := readHosts(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestServes(t *testing.T) {
	images := &bootImages{byArch: map[string]*netboot.Image{"amd64": {}}}
	withPi := &bootImages{byArch: images.byArch, pi: &netboot.PiImage{}}
	loaders := fstest.MapFS{"snponly.efi": {}}
	all := &bootHosts{}
	one := netboot.MAC{1}
	for _, c := range []struct {
		way    netboot.Way
		p      netboot.Platform
		images *bootImages
		hosts  *bootHosts
		want   string
	}{
		{netboot.PXE, netboot.Platform{Arch: "amd64", EFI: true}, images, all, ""},
		{netboot.IPXE, netboot.Platform{Arch: "amd64"}, images, all, ""},
		{netboot.PXE, netboot.Platform{Arch: "amd64"}, images, all, "no loader for bios-amd64"},
		{netboot.HTTP, netboot.Platform{Arch: "arm64", EFI: true}, withPi, all, "no --image for efi-arm64"},
		{netboot.PXE, netboot.Platform{Arch: "amd64", EFI: true}, images, &bootHosts{only: true}, "--only-hosts"},
		{netboot.Pi, netboot.Platform{Arch: "arm64"}, images, all, "the board rpi"},
		{netboot.Pi, netboot.Platform{Arch: "arm64"}, withPi, all, ""},
		{netboot.Pi, netboot.Platform{Arch: "arm64"}, withPi, &bootHosts{only: true}, "--only-hosts"},
		{netboot.Pi, netboot.Platform{Arch: "arm64"}, withPi, &bootHosts{install: "auto"}, "--install 01:00:00:00:00:00=no"},
		{netboot.Pi, netboot.Platform{Arch: "arm64"}, withPi, &bootHosts{install: "auto", disks: map[netboot.MAC]string{one: ""}}, ""},
	} {
		ok, reason := serves(netboot.Client{MAC: one, Way: c.way, Platform: c.p}, c.images, loaders, c.hosts)
		if ok != (c.want == "") || !strings.Contains(reason, c.want) {
			t.Errorf("%s %s: %v, %q, want %q", c.way, c.p, ok, reason, c.want)
		}
	}
}

func TestNetbootServeRefuses(t *testing.T) {
	d := newDesk(t)
	t.Setenv("XDG_STATE_HOME", d.dir)
	dir := bootDir(t, "quiet")
	loaders := filepath.Join(d.dir, "loaders")
	if err := errors.Join(os.Mkdir(loaders, 0o755), os.WriteFile(filepath.Join(loaders, "snponly.efi"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	with := "netboot serve --image " + dir + " --loaders " + loaders
	d.refused("", "netboot serve --interface lo --image "+dir, "mycelium image netboot --out")
	d.refused("", "netboot serve --image "+dir, "interface")
	d.refused("", with+" --interface absent0", "absent0", "ip link")
	d.refused("", with+" --interface lo --http-port 70000", "no port")
	d.refused("", with+" --interface lo --router 192.168.1.1", "--dhcp alone")
	d.refused("", with+" --interface lo --dhcp 192.168.1.1-192.168.1.9", "does not lie in")
	d.refused("", with+" --interface lo --interface eth0 --dhcp 192.168.1.1-192.168.1.9", "one --interface")
	d.refused("", with+" --interface lo --again kitchen", "hardware address")
	pi := "netboot serve --interface lo --loaders " + loaders + " --image " + piDir(t)
	d.refused("", pi, "bootcode.bin", "mycelium image netboot")
	d.refused("", pi+" --install auto", "cannot install itself", "mycelium flash")
	d.refused("", with+" --interface lo --state "+d.write("state", "{"), "correct or remove it")
}

func TestInstalledState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mycelium", "netboot.json")
	mac, at := netboot.MAC{2, 0, 0, 0, 0, 1}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	read := func(again ...string) map[netboot.MAC]time.Time {
		t.Helper()
		machines := &netboot.Machines{}
		s, err := (&netbootFlags{state: path, again: again}).openState(machines)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.keep(netboot.Machine{MAC: netboot.MAC{9}}), s.keep(netboot.Machine{MAC: netboot.MAC{8}, State: netboot.Started})); err != nil {
			t.Fatal(err)
		}
		got := map[netboot.MAC]time.Time{}
		for _, m := range machines.List() {
			got[m.MAC] = m.Installed
		}
		return got
	}
	if got := read(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file without an installed machine: %v", err)
	}
	s := &installedState{path: path, installed: map[string]time.Time{}}
	if err := s.keep(netboot.Machine{MAC: mac, Installed: at}); err != nil {
		t.Fatal(err)
	}
	if got := read(); !got[mac].Equal(at) {
		t.Errorf("%v", got)
	}
	if got := read(mac.String()); !got[mac].IsZero() {
		t.Errorf("again: %v", got)
	}
	if got := read(); !got[mac].IsZero() {
		t.Errorf("again is forgotten: %v", got)
	}
}

func TestNetbootView(t *testing.T) {
	mac := netboot.MAC{2, 0, 0, 0, 0, 1}
	base := netboot.Machine{MAC: mac, Way: netboot.PXE, Platform: netboot.Platform{Arch: "amd64", EFI: true}}
	step := func(change func(*netboot.Machine)) netboot.Machine {
		change(&base)
		return base
	}
	steps := []netboot.Machine{
		step(func(m *netboot.Machine) { m.State = netboot.Asked }),
		step(func(m *netboot.Machine) { m.State = netboot.Asked }),
		step(func(m *netboot.Machine) {
			m.State, m.Address, m.File, m.Sent, m.Size = netboot.Fetching, netip.MustParseAddr("192.168.77.5"), "os.efi", 9<<20, 36<<20
		}),
		step(func(m *netboot.Machine) { m.Sent = 18 << 20 }),
		step(func(m *netboot.Machine) { m.State, m.Sent = netboot.Started, 36<<20 }),
		step(func(m *netboot.Machine) {
			m.State, m.Report = netboot.Installing, netboot.Report{Phase: "write", Percent: 40, Message: "/dev/sda"}
		}),
		step(func(m *netboot.Machine) { m.Problem = "no image" }),
	}
	var plain, screen bytes.Buffer
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	v := newNetbootView(&plain)
	v.now = func() time.Time { return now }
	live := newNetbootView(&screen)
	live.width = func() int { return 100 }
	for _, m := range steps {
		v.see(m)
		live.see(m)
	}
	want := `03:04:05  02:00:00:00:00:01  asks what to boot: PXE, efi-amd64
03:04:05  02:00:00:00:00:01  fetches os.efi, 36.0 MiB, at 192.168.77.5
03:04:05  02:00:00:00:00:01  has the operating system and starts it
03:04:05  02:00:00:00:00:01  says: write 40 % /dev/sda
03:04:05  02:00:00:00:00:01  problem: no image
`
	if plain.String() != want {
		t.Errorf("got\n%s", &plain)
	}
	if _, err := live.log(&screen).Write([]byte("a log line\n")); err != nil {
		t.Fatal(err)
	}
	live.close()
	text := screen.String()
	for _, line := range []string{
		"… 02:00:00:00:00:01  PXE  efi-amd64   192.168.77.5     system      os.efi  25 % of 36.0 MiB\n",
		"✓ 02:00:00:00:00:01  PXE  efi-amd64   192.168.77.5     started     os.efi 100 % of 36.0 MiB\n",
		"\x1b[1A\r\x1b[Ja log line\n\r\x1b[K! 02:00:00:00:00:01",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in %q", line, text)
		}
	}
}
