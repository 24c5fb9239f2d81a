package flash

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// computer makes a /sys and a /proc with the disks of a laptop.
func computer(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	put := func(path, content string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte(content+"\n"))
	}
	link := func(to, path string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, to), path); err != nil {
			t.Fatal(err)
		}
	}
	device := func(place, name, number, sectors string, attributes map[string]string) {
		dir := "sys/devices/" + place + "/block/" + name
		put(dir+"/dev", number)
		put(dir+"/size", sectors)
		put(dir+"/removable", "0")
		put(dir+"/ro", "0")
		for k, v := range attributes {
			put(dir+"/"+k, v)
		}
		link(dir, "sys/block/"+name)
		link(dir, "sys/class/block/"+name)
	}
	partition := func(place, disk, name, number string) {
		dir := "sys/devices/" + place + "/block/" + disk + "/" + name
		put(dir+"/dev", number)
		put(dir+"/partition", "1")
		link(dir, "sys/class/block/"+name)
	}
	const nvme, usb, mmc, ata = "pci0000:00/nvme/nvme0", "pci0000:00/usb1/1-2/host4/target4:0:0", "pci0000:00/mmc_host/mmc0", "pci0000:00/ata1/host0"
	device(nvme, "nvme0n1", "259:0", "1000215216", map[string]string{"device/model": "Samsung  SSD 970"})
	partition(nvme, "nvme0n1", "nvme0n1p1", "259:1")
	partition(nvme, "nvme0n1", "nvme0n1p2", "259:2")
	device("virtual", "dm-0", "254:0", "5000", map[string]string{"dm/name": "vg-root"})
	link("sys/devices/virtual/block/dm-0", "sys/devices/"+nvme+"/block/nvme0n1/nvme0n1p2/holders/dm-0")
	device(usb, "sdb", "8:16", "62333952", map[string]string{"removable": "1", "device/vendor": "SanDisk ", "device/model": "Ultra Fit  "})
	partition(usb, "sdb", "sdb1", "8:17")
	device(usb, "sdc", "8:32", "1000", map[string]string{})
	partition(usb, "sdc", "sdc1", "8:33")
	device(mmc, "mmcblk0", "179:0", "31116288", map[string]string{"device/name": "SC16G"})
	device(mmc, "mmcblk0boot0", "179:8", "8192", nil)
	device(ata, "sda", "8:0", "2000", map[string]string{"device/vendor": "ATA", "device/model": "Disk"})
	partition(ata, "sda", "sda1", "8:1")
	for _, name := range []string{"loop0", "sr0", "ram0", "zram0", "md0"} {
		device("virtual", name, "7:0", "100", nil)
	}
	put("proc/self/mountinfo", `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw
23 22 259:1 / /boot rw - vfat /dev/nvme0n1p1 rw
24 22 0:45 /@home /home rw - btrfs /dev/sda1 rw,subvol=/@home
25 22 8:17 / /media/me/MY\040STICK rw - vfat /dev/sdb1 rw
26 22 0:5 / /proc rw - proc proc rw`)
	put("proc/swaps", "Filename\tType\tSize\n/dev/sdc1                               partition\t8388604\t0\t-2")
	return root
}

func TestDrives(t *testing.T) {
	list, err := drivesIn(computer(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []Drive{
		{Name: "mmcblk0", Path: "/dev/mmcblk0", Model: "SC16G", Size: 31116288 * 512, Bus: "mmc"},
		{Name: "nvme0n1", Path: "/dev/nvme0n1", Model: "Samsung SSD 970", Size: 1000215216 * 512, Bus: "nvme", Uses: []string{"/boot", "/"}},
		{Name: "sda", Path: "/dev/sda", Model: "ATA Disk", Size: 2000 * 512, Bus: "ata", Uses: []string{"/home"}},
		{Name: "sdb", Path: "/dev/sdb", Model: "SanDisk Ultra Fit", Size: 62333952 * 512, Bus: "usb", Removable: true, Uses: []string{"/media/me/MY STICK"}},
		{Name: "sdc", Path: "/dev/sdc", Size: 1000 * 512, Bus: "usb", Uses: []string{"swap"}},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("got  %+v\nwant %+v", list, want)
	}
	if _, err := drivesIn(t.TempDir()); err == nil {
		t.Error("a system without /sys has disks")
	}
	if _, err := Drives(t.Context()); err != nil {
		t.Errorf("this computer: %v", err)
	}
}

func TestOpenDriveErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, make([]byte, mib))
	if _, err := OpenDrive(t.Context(), Drive{Path: path}); err == nil || !strings.Contains(err.Error(), "is no disk") {
		t.Errorf("error %v", err)
	}
	if _, err := OpenDrive(t.Context(), Drive{Path: path + "-absent"}); err == nil || !strings.Contains(err.Error(), "open the disk") {
		t.Errorf("error %v", err)
	}
}

// blockService is as much of udisks as is asked for.
type blockService struct {
	file  *os.File
	flags chan int32
}

// OpenDevice implements org.freedesktop.UDisks2.Block.OpenDevice.
func (s blockService) OpenDevice(mode string, options map[string]dbus.Variant) (dbus.UnixFD, *dbus.Error) {
	flags, _ := options["flags"].Value().(int32)
	s.flags <- flags
	if mode != "rw" {
		return 0, dbus.MakeFailedError(errors.New("mode " + mode))
	}
	return dbus.UnixFD(s.file.Fd()), nil
}

// TestUDisks asks a service on a bus of its own that answers as udisks does.
func TestUDisks(t *testing.T) {
	address := startBus(t)
	connect := func(ctx context.Context) (*dbus.Conn, error) { return dbus.Connect(address, dbus.WithContext(ctx)) }
	if _, err := openByUDisks(t.Context(), connect, "sdb"); err == nil || !strings.Contains(err.Error(), "ask udisks") {
		t.Errorf("without udisks: %v", err)
	}
	path := filepath.Join(t.TempDir(), "disk")
	write(t, path, []byte("a disk"))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	server, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	service := blockService{f, make(chan int32, 1)}
	if err := server.Export(service, "/org/freedesktop/UDisks2/block_devices/sdb", "org.freedesktop.UDisks2.Block"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.RequestName("org.freedesktop.UDisks2", 0); err != nil {
		t.Fatal(err)
	}
	got, err := openByUDisks(t.Context(), connect, "sdb")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if flags := <-service.flags; flags&unix.O_EXCL == 0 {
		t.Errorf("flags %x: not for us alone", flags)
	}
	if _, err := got.WriteAt([]byte("ours"), 0); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "ourssk" {
		t.Errorf("%q, %v", data, err)
	}
	if name := objectName("cciss!c0d0_x"); name != "cciss_21c0d0_x" {
		t.Error(name)
	}
}

// startBus runs a D-Bus daemon and returns its address.
func startBus(t *testing.T) string {
	t.Helper()
	address := "unix:path=" + filepath.Join(t.TempDir(), "bus")
	config := filepath.Join(t.TempDir(), "bus.conf")
	write(t, config, []byte(`<busconfig><type>session</type><listen>`+address+`</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "dbus-daemon", "--nofork", "--nopidfile", "--config-file="+config)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (apt-get install dbus-daemon)", err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	for range 600 {
		if _, err := os.Stat(strings.TrimPrefix(address, "unix:path=")); err == nil {
			return address
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the bus does not come up")
	return ""
}
