package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/digital-mycelium/os/cmd/init/internal/disk"
	"github.com/digital-mycelium/os/cmd/init/internal/install"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/gpt"
)

func TestInstallWords(t *testing.T) {
	c := parseCmdline("quiet mycelium.live mycelium.install=wipe:auto mycelium.install.image=http://10.0.0.1/os.efi mycelium.install.sha256=00 mycelium.install.report=http://10.0.0.1/r?mac=1")
	want := installWords{"wipe:auto", "http://10.0.0.1/os.efi", "00", "http://10.0.0.1/r?mac=1"}
	if !c.live || c.install != want {
		t.Errorf("%v %+v", c.live, c.install)
	}
	if c := parseCmdline("mycelium.board=x"); c.live || c.install != (installWords{}) {
		t.Errorf("without words: %v %+v", c.live, c.install)
	}
}

func TestDocumentIsLive(t *testing.T) {
	const head = "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\n"
	for doc, want := range map[string]bool{
		"":                                    false,
		head:                                  false,
		head + "hostname: a\n":                false,
		head + "install: {}\n":                false,
		head + "install: {live: true}\n":      true,
		head + "install:\n  disk: auto\n":     true,
		head + "install: {live: maybe}\n":     true, // wrong, and meant for a stick
		head + "hostnam: a\ninstall: {}\n":    true,
		head + "hostnam: a\n#install: {}\n":   false,
		head + "hostnam: a\n  install: {a}\n": false,
	} {
		if got := documentIsLive([]byte(doc)); got != want {
			t.Errorf("%q: %v, want %v", doc, got, want)
		}
	}
}

// testDisk is a disk with one partition STATE of the given identifier.
func testDisk(t *testing.T, name string, id gpt.GUID) disk.Disk {
	t.Helper()
	table, err := gpt.New(gpt.RandomGUID(), 512, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.AddPartition(gpt.Partition{Type: gpt.State, Name: "STATE", ID: id}, 0); err != nil {
		t.Fatal(err)
	}
	return disk.Disk{Name: name, Table: table}
}

func TestDecideLive(t *testing.T) {
	a, b := testDisk(t, "vda", gpt.RandomGUID()), testDisk(t, "vdb", gpt.RandomGUID())
	one := func(d disk.Disk) *bootDisk { return &bootDisk{Disk: d, table: d.Table} }
	two := &bootDisk{err: &disk.AmbiguousError{Disks: []disk.Disk{a, b}}}
	none := &bootDisk{err: disk.ErrNone}
	named := []string{a.Table.Partitions[0].ID.String()}
	for _, tt := range []struct {
		name       string
		disk       *bootDisk
		ordered    bool
		loader     []string
		installers string
		live       bool
		medium     string
		unsure     bool
	}{
		{"its own disk", one(a), false, named, "", false, "", false},
		{"a stick", one(a), false, named, "vda", true, "vda", false},
		{"a stick, the loader says nothing", one(a), false, nil, "vda", true, "vda", false},
		{"no disk", none, false, nil, "", true, "", false},
		{"a disk that cannot be read", &bootDisk{err: errors.New("bad")}, false, nil, "", false, "", false},
		{"started from the network to install", one(a), true, nil, "", true, "", false},
		{"its own disk, to be live", one(a), true, named, "", true, "vda", false},
		{"two disks", two, false, nil, "", false, "", false},
		{"two disks, one a stick", two, false, nil, "vdb", true, "vdb", true},
		{"two sticks", two, true, nil, "vda vdb", false, "", false},
		{"two disks, to install", two, true, nil, "", true, "", true},
	} {
		live := decideLive(tt.disk, tt.ordered, tt.loader, func(d *bootDisk) bool { return strings.Contains(tt.installers, d.Name) && d.Name != "" })
		medium := ""
		if live != nil && live.medium != nil {
			medium = live.medium.Name
		}
		if (live != nil) != tt.live || medium != tt.medium || live != nil && live.unsure != tt.unsure {
			t.Errorf("%s: %+v with medium %q", tt.name, live, medium)
		}
	}
}

// TestBootOrder: what nobody orders now is not done when it is not clear.
func TestBootOrder(t *testing.T) {
	for _, tt := range []struct {
		name, words, want string
		change            func(*machine)
	}{
		{"of the configuration", "", "", nil},
		{"of the command line", "wipe:sdb", "", nil},
		{"nonsense", "/dev/sdb", "names no disk", nil},
		{"two disks", "", "by hand", func(m *machine) { m.live.unsure = true }},
		{"a wrong configuration", "auto", "configuration", func(m *machine) { m.choice.Err = errors.New("wrong") }},
		{"a missing configuration", "auto", "configuration", func(m *machine) { m.choice.Fetch = true }},
	} {
		m := &machine{live: &liveSystem{}, cmdline: cmdline{install: installWords{order: tt.words}}}
		if tt.change != nil {
			tt.change(m)
		}
		r := installRequest{}
		r.Disk = "auto"
		err := m.bootOrder(&r)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err == nil && tt.words != "" && (r.Disk != "sdb" || !r.Wipe) {
			t.Errorf("%s: %+v", tt.name, r.Order)
		}
	}
	m := &machine{}
	if err := m.install(t.Context(), installRequest{}); !errors.Is(err, api.ErrConflict) {
		t.Errorf("installing a system that runs from its disk: %v", err)
	}
	m.live = &liveSystem{}
	m.installs.busy.Lock()
	if err := m.install(t.Context(), installRequest{}); !errors.Is(err, api.ErrConflict) || !strings.Contains(err.Error(), "under way") {
		t.Errorf("a second installation: %v", err)
	}
}

func TestInstalledConfig(t *testing.T) {
	c := config.Default()
	c.Install = config.Install{Disk: "auto", Wipe: true}
	if doc, err := installedConfig(*c); doc != nil || err != nil {
		t.Errorf("a document about the installation alone becomes %q, %v", doc, err)
	}
	c.Hostname, c.Membership.Invite = "kitchen", "secret"
	doc, err := installedConfig(*c)
	if err != nil || strings.Contains(string(doc), "install") || !strings.Contains(string(doc), "hostname: kitchen") || !strings.Contains(string(doc), "invite: secret") {
		t.Errorf("%q, %v", doc, err)
	}
	if c.Install.Disk != "auto" {
		t.Error("the configuration that the node runs with was changed")
	}
	a, b := installMark("aa", []byte("x")), installMark("aa", []byte("y"))
	if string(a) == string(b) || string(a) == string(installMark("bb", []byte("x"))) {
		t.Error("different installations have the same mark")
	}
}

func TestIsTarget(t *testing.T) {
	for name, want := range map[string]bool{
		"sda": true, "vda": true, "nvme0n1": true, "mmcblk0": true,
		"sr0": false, "fd0": false, "dm-0": false, "md0": false, "loop0": false, "zram0": false, "mmcblk0boot0": false, "mmcblk0rpmb": false, "nbd0": false,
	} {
		if isTarget(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestFetchFile(t *testing.T) {
	content := []byte("the system")
	sum := sha256.Sum256(content)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/os.efi":
			_, _ = w.Write(content)
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(content)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "os.efi")
	for _, tt := range []struct {
		path string
		want []byte
		err  string
	}{
		{"/os.efi", sum[:], ""},
		{"/os.efi", nil, ""},
		{"/os.efi", make([]byte, 32), "has the SHA-256 " + hex.EncodeToString(sum[:])},
		{"/cut", sum[:], "after 10 bytes"},
		{"/none", sum[:], "404"},
	} {
		err := fetchFile(t.Context(), server.URL+tt.path+"?token=hidden", path, tt.want)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.path, err, tt.err)
		}
		got, readErr := os.ReadFile(path)
		if (readErr == nil) != (tt.err == "") || readErr == nil && string(got) != string(content) {
			t.Errorf("%s: left %q, %v", tt.path, got, readErr)
		}
	}
	err := fetchFile(t.Context(), "http://127.0.0.1:1/?token=hidden", path, nil)
	if err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("error %v shows the query", err)
	}
	for _, tt := range []struct {
		image, digest string
		pinned, ok    bool
	}{
		{"https://a/os.efi", "", false, true},
		{"https://a/os.efi", hex.EncodeToString(sum[:]), true, true},
		{"http://a/os.efi", hex.EncodeToString(sum[:]), true, true},
		{"http://a/os.efi", "", false, false},
		{"http://a/os.efi", "00", false, false},
		{"https://a/os.efi", "zz", false, false},
		{"ftp://a/os.efi", hex.EncodeToString(sum[:]), false, false},
		{"os.efi", hex.EncodeToString(sum[:]), false, false},
	} {
		pin, err := imagePin(tt.image, tt.digest)
		if (err == nil) != tt.ok || (pin != nil) != tt.pinned {
			t.Errorf("%s %q: %x, %v", tt.image, tt.digest, pin, err)
		}
	}
}

// TestReport: each step is one POST of one line, in order, and a server that is away
// keeps nothing from going on.
func TestReport(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprint(r.Method, " ", string(b), err))
	}))
	m := newMachine("1", parseBuildTime(""))
	m.cmdline.install.report = server.URL
	r := m.newReporter(context.Background())
	r.send(api.InstallProgress{Step: "system", Percent: 40, Message: "sda:\nwriting"})
	r.finish(api.InstallProgress{Step: "done", Percent: 100, Message: "installed"})
	if want := []string{"POST system 40 sda: writing\n<nil>", "POST done 100 installed\n<nil>"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
	server.Close()
	r = m.newReporter(context.Background())
	r.finish(api.InstallProgress{Step: "done"})
}

func TestSteps(t *testing.T) {
	m := newMachine("1", parseBuildTime(""))
	var got []string
	s := m.newSteps(installRequest{progress: func(p api.InstallProgress) { got = append(got, fmt.Sprintf("%s %d", p.Step, p.Percent)) }})
	s.disk = "sda"
	for _, p := range []int{2, 3, 4, 13, 14, 30} {
		s.at("system", p)
	}
	s.at("verify", 31)
	if want := []string{"system 2", "system 13", "system 30", "verify 31"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if s.last.Message != "sda: reading the system back" {
		t.Errorf("message %q", s.last.Message)
	}
}

// TestInstallMenu types on two terminals at once.
func TestInstallMenu(t *testing.T) {
	m := newMachine("1", parseBuildTime(""))
	disks := func() []install.Disk {
		return []install.Disk{{Name: "sda", Size: 8 << 30, Content: install.Content{Kind: install.Blank, Text: "nothing"}}}
	}
	var others sync.Mutex
	var orders []install.Order
	do := func(o install.Order) error {
		orders = append(orders, o)
		return errors.New("the disk\nis broken")
	}
	type terminal struct {
		*io.PipeReader
		io.Writer
	}
	open := func() (typed *io.PipeWriter, shown *bufio.Reader, done chan struct{}) {
		in, typed := io.Pipe()
		out, screen := io.Pipe()
		done = make(chan struct{})
		go func() { defer close(done); m.installMenu(terminal{in, screen}, &others, disks, do) }()
		return typed, bufio.NewReader(out), done
	}
	typed, shown, done := open()
	say := func(line string) {
		t.Helper()
		if _, err := io.WriteString(typed, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	want := func(text string) {
		t.Helper()
		for {
			line, err := shown.ReadString('\n')
			if err != nil {
				t.Fatalf("no %q: %v", text, err)
			}
			if strings.Contains(line, text) {
				return
			}
		}
	}
	say("hello")
	say("i")
	want("1  sda (8.0 GiB): nothing")
	if !m.menuOpen.Load() {
		t.Error("the overview draws over the menu")
	}
	// Somebody else has to wait.
	otherTyped, _, otherDone := open()
	if _, err := io.WriteString(otherTyped, "i\n1\nYES\n"); err != nil {
		t.Fatal(err)
	}
	_ = otherTyped.Close()
	<-otherDone
	say("1")
	want("Everything on sda (8.0 GiB) is lost")
	say("YES")
	want("Installing on sda")
	want("the disk")
	want("is broken")
	say("i")
	want("1  sda")
	_ = typed.Close()
	<-done
	if !slices.Equal(orders, []install.Order{{Disk: "sda", Wipe: true}}) || m.menuOpen.Load() || !others.TryLock() {
		t.Errorf("orders %+v, the menu is left open: %v", orders, m.menuOpen.Load())
	}
}
