package system

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// What the console calls the places, and the address that DHCP gives.
const (
	configFile   = "mycelium.yaml"
	fromFile     = configFile + " on the EFI partition"
	fromFwCfg    = "the configuration in fw_cfg"
	fromSMBIOS   = "the configuration in SMBIOS"
	leaseAddress = "10.0.2.15/24"
)

// configurationSources: one document counts, the node says which, and what is
// wrong with it. Each place's document sets an address, by which it is known.
func configurationSources(t *testing.T, suite *lab.Suite) {
	m := suite.Machine(t, lab.MachineSpec{Name: "sources"})
	given := m.Spec().Config
	file, virtual := staticDocument(m, 31), staticDocument(m, 32)
	smbios := []string{"-smbios", "type=11,value=mycelium.os:config=" + base64.StdEncoding.EncodeToString(virtual)}
	for _, boot := range []struct {
		name    string
		prepare func(*testing.T)
		fwCfg   []byte
		from    string
		address string
		problem string
	}{
		{"example file, fw_cfg, SMBIOS", nil, given, fromFwCfg, leaseAddress, ""},
		{"file", putConfig(m, file), given, fromFile, "10.0.2.31/24", ""},
		{"truncated file", putConfig(m, file[:len(file)-3]), given, "the defaults, because " + fromFile, leaseAddress, "is wrong: line "},
		{"foreign file", putConfig(m, []byte("\x7fELF\x02\x01\x01\x00")), given, "the defaults, because " + fromFile, leaseAddress, "is wrong: "},
		{"oversized file", putConfig(m, append(bytes.Repeat([]byte("#\n"), config.MaxSize), file...)), given, "the defaults, because " + fromFile, leaseAddress, "are too many"},
		{"SMBIOS", removeConfig(m), nil, fromSMBIOS, "10.0.2.32/24", ""},
	} {
		t.Run(boot.name, func(t *testing.T) {
			defer suite.Times.Start(t)()
			defer recordOf(t, m)
			if boot.prepare != nil {
				boot.prepare(t)
			}
			must(t, "configure", m.Change(func(s *qemu.NodeSpec) { s.Config, s.ExtraArgs = boot.fwCfg, smbios }))
			must(t, "start", m.Start(t.Context()))
			waitConfigured(t, m, boot.from, boot.address)
			checkConfigProblem(t, m, boot.problem)
			if boot.from == fromFwCfg { // the first one: as a member it answers
				must(t, "enrol", m.Enrol(t.Context()))
				status, err := m.WaitStatus(within(t, time.Minute), "an answer", func(*api.Status) (bool, string) { return true, "" })
				must(t, "status", err)
				if status.Configuration != boot.from || status.Name != m.Name() || len(status.Problems) != 0 {
					t.Errorf("the status of %s says %q, %q", status.Name, status.Configuration, status.Problems)
				}
			}
			must(t, "power cut", m.Kill(t.Context()))
		})
	}
	t.Run("URL", func(t *testing.T) {
		defer suite.Times.Start(t)()
		defer recordOf(t, m)
		configurationURL(t, m)
	})
}

// configurationURL: a node waits for a late server, needs none for what it has
// fetched, and takes no other document than the one that was pinned.
func configurationURL(t *testing.T, m *lab.Machine) {
	first, second := staticDocument(m, 33), staticDocument(m, 34)
	server := &documentServer{}
	must(t, "choose a port", server.choosePort())
	url := fmt.Sprintf("http://10.0.2.2:%d/node.yaml", server.port)
	start := func(pinned []byte) {
		t.Helper()
		words := fmt.Sprintf("mycelium.config=%s#sha256=%x", url, sha256.Sum256(pinned))
		must(t, "configure", m.Change(func(s *qemu.NodeSpec) { s.Config, s.ExtraArgs = nil, kernelArguments(words) }))
		must(t, "start", m.Start(t.Context()))
	}
	waiting := func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventConfiguration && strings.HasPrefix(e.Text, "waiting for "+url)
	}

	start(first)
	_, err := m.WaitEvent(within(t, 3*time.Minute), "the wait for the server", waiting)
	must(t, "late server", err)
	server.document.Store(&first)
	must(t, "serve", server.start(t))
	waitConfigured(t, m, url, "10.0.2.33/24")
	checkConfigProblem(t, m, "")
	must(t, "power cut", m.Kill(t.Context()))

	must(t, "close the server", server.Close())
	start(first)
	waitConfigured(t, m, url, "10.0.2.33/24")
	checkConfigProblem(t, m, "")
	events, err := m.Events()
	must(t, "console", err)
	for _, e := range events {
		if waiting(e) {
			t.Errorf("the node asked again for what it has: %+v", e)
		}
	}
	must(t, "power cut", m.Kill(t.Context()))

	// Another document than the pinned one, until somebody puts the right one there.
	must(t, "serve", server.start(t))
	start(second)
	waitConfigured(t, m, "the defaults, until there is an answer from "+url, leaseAddress)
	checkConfigProblem(t, m, "SHA-256")
	server.document.Store(&second)
	_, err = m.WaitEvent(within(t, 3*time.Minute), "the right document", func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventConfiguration && e.Text == url
	})
	must(t, "document put right", err)
	_, err = m.WaitEvent(within(t, time.Minute), "the end of the problem", func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventSolved && strings.Contains(e.Text, "SHA-256")
	})
	must(t, "problem solved", err)
	_, err = m.WaitEvent(within(t, time.Minute), "what waits for a reboot", isProblem(`reboot to apply .*network\.interfaces`))
	must(t, "reboot needed", err)
	must(t, "close the server", server.Close())
}

// waitConfigured waits until the console has said that the node runs with the
// document of a place, and has an address.
func waitConfigured(t *testing.T, m *lab.Machine, from, address string) {
	t.Helper()
	_, err := m.WaitEvent(within(t, 3*time.Minute), "configuration from "+from, func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventConfiguration && strings.HasPrefix(e.Text, from)
	})
	must(t, "configuration", err)
	_, err = m.WaitEvent(within(t, time.Minute), "the address "+address, func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventAddress && strings.Contains(" "+e.Text+" ", " "+address+" ")
	})
	must(t, "address", err)
}

// checkConfigProblem wants the console to say what is wrong with the document,
// or with an empty text that nothing is.
func checkConfigProblem(t *testing.T, m *lab.Machine, text string) {
	t.Helper()
	events, err := m.Events()
	must(t, "console", err)
	said := false
	for _, e := range events {
		if e.Kind == api.EventPhase && (e.Name == "config" || e.Name == "fetch") && e.Text != "" {
			said = true
			if text == "" || !strings.Contains(e.Text, text) || !strings.Contains(e.Text, "running with the defaults") {
				t.Errorf("the console says %q, want %q and that the node runs with the defaults", e.Text, text)
			}
		}
	}
	if text != "" && !said {
		t.Errorf("the console does not say that %q", text)
	}
}

// staticDocument gives the interface with DHCP the address 10.0.2.HOST instead.
func staticDocument(m *lab.Machine, host int) []byte {
	c := config.Default()
	c.Network.Interfaces = []config.Interface{{
		MAC: m.Spec().WANMAC, Addresses: []string{fmt.Sprintf("10.0.2.%d/24", host)}, Gateway: "10.0.2.2",
	}}
	document, err := c.Document()
	if err != nil {
		panic(err) // of a document that the tests wrote
	}
	return document
}

// putConfig writes the file on the EFI partition.
func putConfig(m *lab.Machine, content []byte) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		onEFI(t, m, func(p *lab.Partition) error { return p.PutFile(t.Context(), configFile, content) })
	}
}

// removeConfig deletes the file on the EFI partition.
func removeConfig(m *lab.Machine) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		onEFI(t, m, func(p *lab.Partition) error { return p.RemoveFile(t.Context(), configFile) })
	}
}

func onEFI(t *testing.T, m *lab.Machine, change func(*lab.Partition) error) {
	t.Helper()
	disk, err := m.Disk()
	must(t, "disk", err)
	defer closeDisk(t, disk)
	p, err := disk.Partition("EFI")
	must(t, "disk", err)
	must(t, "file", change(p))
}

// documentServer serves one document over HTTP on a port of 127.0.0.1, which the
// guest reaches at 10.0.2.2.
type documentServer struct {
	http.Server
	port     int
	document atomic.Pointer[[]byte]
}

// choosePort finds a free port for later: a server that is late must have one.
func (s *documentServer) choosePort() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	return l.Close()
}

func (s *documentServer) start(t *testing.T) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		return err
	}
	s.Server = http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(*s.document.Load())
	})}
	t.Cleanup(func() { _ = s.Close() })
	go func() { _ = s.Serve(l) }() // ends with Close
	return nil
}
