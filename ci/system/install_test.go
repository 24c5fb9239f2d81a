package system

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// targetSize leaves DATA somewhat more than a GiB.
const targetSize = 2500 << 20

// installs: a stick with a section install leaves every disk alone, refuses a foreign
// one, installs by the API, and installs again by itself, keeping the data, once.
func installs(t *testing.T, suite *lab.Suite) {
	dir := t.TempDir()
	stick, target := filepath.Join(dir, "stick.img"), filepath.Join(dir, "target.img")
	copyFile(t, suite.Image, stick)
	const name = "install"
	giveStick(t, stick, name, "  after: poweroff\n")
	foreignDisk(t, target)
	m := suite.Machine(t, lab.MachineSpec{Name: name, Node: qemu.NodeSpec{Image: stick, DiskBytes: 4 << 30, ExtraArgs: secondDisk(target)}})
	must(t, "start", m.Start(t.Context()))
	foreign := fileSum(t, target)
	_, err := m.WaitEvent(within(t, 4*time.Minute), "the refusal", func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventPhase && e.Name == "install" && strings.Contains(e.Text, "ext2, ext3 or ext4") && strings.Contains(e.Text, "order to wipe it")
	})
	must(t, "refuse a foreign disk", err)
	must(t, "enrol the live system", m.Enrol(t.Context()))
	status, err := m.WaitStatus(within(t, 2*time.Minute), "the end of the boot", func(s *api.Status) (bool, string) {
		return s.Phase == lab.PhaseRunning, s.Phase
	})
	must(t, "live system", err)
	for _, v := range status.Volumes {
		if v.State != "missing" {
			t.Errorf("live: %s is %q on %s", v.Label, v.State, v.Device)
		}
	}
	if got := fileSum(t, target); got != foreign {
		t.Error("the live system wrote to a disk that it was not to install on")
	}
	before := fileSum(t, m.DiskPath())
	orderInstall(t, m)
	if got := fileSum(t, m.DiskPath()); got != before {
		t.Error("the stick was written to")
	}

	// From the disk alone.
	must(t, "unplug the stick", os.Rename(m.DiskPath(), stick))
	must(t, "boot from the target", os.Rename(target, m.DiskPath()))
	must(t, "configure", m.Change(func(s *qemu.NodeSpec) { s.ExtraArgs = nil }))
	must(t, "start", m.Start(t.Context()))
	must(t, "enrol the installed system", m.Enrol(t.Context()))
	first, err := m.WaitStatus(within(t, 2*time.Minute), "the end of the boot", func(s *api.Status) (bool, string) {
		return s.Phase == lab.PhaseRunning, s.Phase
	})
	must(t, "installed system", err)
	if first.Configuration != fromFile || first.Name != name || len(first.Problems) > 0 || first.MachineID == status.MachineID {
		t.Errorf("installed: %s by %s, machine %s (live %s), problems %q", first.Name, first.Configuration, first.MachineID, status.MachineID, first.Problems)
	}
	if v := volume(first, "DATA"); v.State != "created" {
		t.Errorf("DATA of the installed system is %q", v.State)
	}
	must(t, "shutdown", m.PowerOff(t.Context()))
	installAgain(t, m, stick, target, first)
}

// installAgain puts the stick in again: it keeps the data of what is on the disk, and
// reboots into itself, which does nothing more.
func installAgain(t *testing.T, m *lab.Machine, stick, target string, first *api.Status) {
	t.Helper()
	must(t, "unplug the target", os.Rename(m.DiskPath(), target))
	must(t, "plug the stick in", os.Rename(stick, m.DiskPath()))
	giveStick(t, m.DiskPath(), m.Name(), "kubernetes:\n  labels: {again: \"yes\"}\n")
	must(t, "configure", m.Change(func(s *qemu.NodeSpec) { s.ExtraArgs = secondDisk(target) }))
	must(t, "start", m.Start(t.Context()))
	_, err := m.WaitEvent(within(t, 6*time.Minute), "the end of the installation", isInstall("vdb: done"))
	must(t, "install again", err)
	_, err = m.WaitEvent(within(t, 6*time.Minute), "that it is there already", isProblem("vdb: this system is installed there already"))
	must(t, "start from the stick again", err)
	must(t, "power cut", m.Kill(t.Context()))

	must(t, "unplug the stick", os.Rename(m.DiskPath(), stick))
	must(t, "boot from the target", os.Rename(target, m.DiskPath()))
	must(t, "configure", m.Change(func(s *qemu.NodeSpec) { s.ExtraArgs = nil }))
	must(t, "start", m.Start(t.Context()))
	second, err := m.WaitReady(t.Context())
	must(t, "system that was installed again", err)
	checkSameMachine(t, first, second)
	for _, label := range []string{"STATE", "DATA"} {
		if v := volume(second, label); v.State != "mounted" {
			t.Errorf("%s of the system that was installed again is %q", label, v.State)
		}
	}
	if second.Membership.Key != first.Membership.Key {
		t.Errorf("the node has the key %s, before %s", second.Membership.Key, first.Membership.Key)
	}
	must(t, "shutdown", m.PowerOff(t.Context()))
	checkClean(t, m)
}

// orderInstall installs by the API and waits until the machine is off.
func orderInstall(t *testing.T, m *lab.Machine) {
	t.Helper()
	client, err := m.Client(t.Context())
	must(t, "client", err)
	defer client.Close()
	refuse := api.InstallOptions{Disk: "vda", Wipe: true, After: api.InstallPowerOff}
	if err := client.Install(within(t, time.Minute), refuse, func(api.InstallProgress) {}); err == nil || !strings.Contains(err.Error(), "what the system was started from") {
		t.Errorf("install on the stick: %v", err)
	}
	var steps []string
	err = client.Install(within(t, 5*time.Minute), api.InstallOptions{Disk: "serial:target", Wipe: true, After: api.InstallPowerOff}, func(p api.InstallProgress) {
		steps = append(steps, p.Step)
	})
	must(t, "install by the API", err)
	if steps = slices.Compact(steps); !slices.Contains(steps, "system") || steps[len(steps)-1] != api.InstallDone {
		t.Errorf("progress %q", steps)
	}
	err = lab.Poll(within(t, 3*time.Minute), "the machine to be off", func(context.Context) (bool, string, error) {
		running, err := m.Running()
		return !running, "on", err
	})
	must(t, "power off after the installation", err)
}

// networkInstall: a system that was started without a disk of its own installs what
// the kernel's command line names, and tells how far it is.
func networkInstall(t *testing.T, suite *lab.Suite) {
	osFile := filepath.Join(filepath.Dir(suite.Image), image.OSFile)
	data, err := os.ReadFile(osFile)
	must(t, "OS file", err)
	server := newInstallServer(t, data)
	words := fmt.Sprintf("mycelium.install=auto mycelium.install.image=%[1]s/os.efi mycelium.install.sha256=%[2]x mycelium.install.report=%[1]s/report", server.url, sha256.Sum256(data))
	m := suite.Machine(t, lab.MachineSpec{Name: "netinstall", Node: qemu.NodeSpec{Image: osFile, DiskBytes: targetSize, ExtraArgs: kernelArguments(words)}})
	must(t, "start", m.Start(t.Context()))
	// It reboots into the file beside the disk, as a machine that boots from the network.
	_, err = m.WaitEvent(within(t, 10*time.Minute), "that it is there already", isProblem("this system is installed there already"))
	must(t, "install", err)
	must(t, "power cut", m.Kill(t.Context()))
	report := server.report()
	for _, want := range []string{"system ", "table 95 ", "done 100 installed", "done 100 vd"} {
		if !slices.ContainsFunc(report, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("nobody reported %q: %q", want, report)
		}
	}
	must(t, "no OS file beside the disk", os.RemoveAll(filepath.Join(filepath.Dir(m.DiskPath()), "esp")))
	must(t, "configure", m.Change(func(s *qemu.NodeSpec) { s.ExtraArgs = nil }))
	must(t, "start", m.Start(t.Context()))
	must(t, "enrol the installed system", m.Enrol(t.Context()))
	status, err := m.WaitStatus(within(t, 2*time.Minute), "the end of the boot", func(s *api.Status) (bool, string) {
		return s.Phase == lab.PhaseRunning, s.Phase
	})
	must(t, "installed system", err)
	if v := volume(status, "STATE"); v.State != "mounted" && v.State != "created" {
		t.Errorf("STATE of the installed system is %q", v.State)
	}
	must(t, "shutdown", m.PowerOff(t.Context()))
	checkClean(t, m)
}

// installServer serves an OS file and takes reports.
type installServer struct {
	url   string
	mu    sync.Mutex
	lines []string
}

func newInstallServer(t *testing.T, osFile []byte) *installServer {
	t.Helper()
	s := &installServer{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, "listen", err)
	s.url = fmt.Sprintf("http://10.0.2.2:%d", l.Addr().(*net.TCPAddr).Port)
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/os.efi":
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(osFile))
		case "/report":
			b, _ := io.ReadAll(r.Body)
			s.mu.Lock()
			s.lines = append(s.lines, string(b))
			s.mu.Unlock()
		}
	})}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }() // ends with Close
	return s
}

func (s *installServer) report() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// giveStick makes the disk image an installer's; more is the end of its document.
func giveStick(t *testing.T, path, hostname, more string) {
	t.Helper()
	disk, err := lab.OpenDisk(path)
	must(t, "stick", err)
	defer closeDisk(t, disk)
	p, err := disk.Partition("EFI")
	must(t, "stick", err)
	document := "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostname: " + hostname + "\ninstall:\n  disk: auto\n" + more
	must(t, "stick", p.PutFile(t.Context(), configFile, []byte(document)))
}

// foreignDisk is a disk with somebody's file system.
func foreignDisk(t *testing.T, path string) {
	t.Helper()
	must(t, "disk", os.WriteFile(path, nil, 0o600))
	must(t, "disk", os.Truncate(path, targetSize))
	out, err := exec.CommandContext(t.Context(), "/sbin/mke2fs", "-q", "-t", "ext4", "-F", path).CombinedOutput()
	if err != nil {
		t.Fatalf("mke2fs: %v: %s (apt-get install e2fsprogs)", err, out)
	}
}

// secondDisk are QEMU's arguments for one more disk.
func secondDisk(path string) []string {
	return []string{
		"-drive", "if=none,id=target,format=raw,cache=writeback,discard=unmap,file=" + path,
		"-device", "virtio-blk-pci,drive=target,serial=target,bootindex=9",
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v: %s", from, err, out)
	}
}

// fileSum is the SHA-256 of a file.
func fileSum(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	f, err := os.Open(path)
	must(t, "checksum", err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	must(t, "checksum", err)
	return [sha256.Size]byte(h.Sum(nil))
}

func isInstall(text string) func(api.ConsoleEvent) bool {
	return func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventInstall && strings.HasPrefix(e.Text, text)
	}
}
