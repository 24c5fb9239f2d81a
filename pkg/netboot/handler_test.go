package netboot

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// site is a whole configuration with small files; neighbours are by address.
func site(neighbours map[string]MAC) *Config {
	section := func(s string) *io.SectionReader {
		return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s)))
	}
	return &Config{
		Network: proxy(),
		Images: map[string]*Image{"amd64": {
			Name: "test 1.0.0", EFI: section("whole file"), Linux: section("kernel"), Initrd: section("initramfs"),
			CommandLine: "console=ttyS0", SHA256: "abcd",
		}},
		Loaders: fstest.MapFS{
			"snponly.efi": {Data: []byte("snp")}, "undionly.kpxe": {Data: []byte("undi")}, "secret": {Data: []byte("secret")},
		},
		Host: func(m MAC) (Host, error) {
			switch m {
			case MAC{2: 1}:
				return Host{Config: []byte("document"), Install: "auto"}, nil
			case MAC{2: 2}:
				return Host{}, errors.New("its file is wrong")
			}
			return Host{}, nil
		},
		Neighbour: func(a netip.Addr) (MAC, error) {
			mac, ok := neighbours[a.String()]
			if !ok {
				return MAC{}, errors.New("no neighbour")
			}
			return mac, nil
		},
		Machines: &Machines{}, Log: slog.New(slog.DiscardHandler),
	}
}

// ask sends a request from an address.
func ask(c *Config, from, method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = from + ":1234"
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, r)
	return w
}

const (
	one, two, three = "192.168.77.51", "192.168.77.52", "192.168.77.53"
	stranger        = "192.168.77.99"
)

func people() map[string]MAC {
	return map[string]MAC{one: {2: 1}, two: {2: 2}, three: {2: 3}}
}

func TestHandlerBoots(t *testing.T) {
	c := site(people())
	w := ask(c, one, "GET", "/script/00-00-01-00-00-00/efi-amd64", "")
	text := w.Body.String()
	line := regexp.MustCompile(`(?m)^kernel --name os\.efi (\S+) (.*) \|\| goto failed$`).FindStringSubmatch(text)
	if w.Code != http.StatusOK || !strings.HasPrefix(text, "#!ipxe\n") || line == nil {
		t.Fatalf("%d: %s", w.Code, text)
	}
	args := regexp.MustCompile(`^console=ttyS0 mycelium\.live mycelium\.config=http://192\.168\.77\.1:6469(/config\?t=\w+)#sha256=[0-9a-f]{64} ` +
		`mycelium\.install=auto mycelium\.install\.image=http://192\.168\.77\.1:6469/image/amd64/os\.efi ` +
		`mycelium\.install\.sha256=abcd mycelium\.install\.report=http://192\.168\.77\.1:6469(/report\?t=\w+)$`).FindStringSubmatch(line[2])
	if args == nil || line[1] != "http://192.168.77.1:6469/image/amd64/os.efi" {
		t.Fatalf("the kernel's line is %q", line[0])
	}
	config, report := args[1], args[2]
	if w := ask(c, one, "GET", "/image/amd64/os.efi", ""); w.Body.String() != "whole file" || w.Header().Get("Content-Type") != "application/efi" || w.Header().Get("Content-Length") != "10" {
		t.Errorf("OS file: %d %v %q", w.Code, w.Header(), w.Body)
	}
	if got := c.Machines.List()[0]; got.State != Started || got.Sent != 10 || got.Size != 10 {
		t.Errorf("%+v", got)
	}
	// Nobody else gets its document, and a word alone is not enough.
	for _, from := range []string{two, stranger} {
		if w := ask(c, from, "GET", config, ""); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "document") {
			t.Errorf("%s gets %d %s", from, w.Code, w.Body)
		}
		if w := ask(c, from, "POST", report, "done 100"); w.Code != http.StatusForbidden {
			t.Errorf("%s reports: %d", from, w.Code)
		}
	}
	if w := ask(c, one, "GET", config, ""); w.Code != http.StatusOK || w.Body.String() != "document" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("document: %d %v %q", w.Code, w.Header(), w.Body)
	}
	if w := ask(c, one, "POST", report, "write 20 /dev/sda"); w.Code != http.StatusOK || c.Machines.List()[0].State != Installing {
		t.Errorf("report: %d %s", w.Code, w.Body)
	}
	ask(c, one, "GET", "/image/amd64/os.efi", "")
	if got := c.Machines.List()[0]; got.State != Installing {
		t.Errorf("fetched to be installed: %s", got.State)
	}
	if w := ask(c, one, "POST", report, "done 100"); w.Code != http.StatusOK {
		t.Errorf("report: %d %s", w.Code, w.Body)
	}
	w = ask(c, one, "GET", "/script/00-00-01-00-00-00/efi-amd64", "")
	if text := w.Body.String(); strings.Contains(text, "kernel") || !strings.Contains(text, "\nexit 1\n") {
		t.Errorf("an installed machine gets %q", text)
	}
	w = ask(c, one, "GET", "/script/00-00-01-00-00-00/bios-amd64", "")
	if !strings.Contains(w.Body.String(), "sanboot --no-describe --drive 0x80") {
		t.Errorf("an installed machine with BIOS gets %q", w.Body)
	}
}

func TestHandlerBIOS(t *testing.T) {
	c := site(people())
	w := ask(c, three, "GET", "/script/00-00-03-00-00-00/bios-amd64", "")
	want := "kernel http://192.168.77.1:6469/image/amd64/linux console=ttyS0 mycelium.live || goto failed\ninitrd http://192.168.77.1:6469/image/amd64/initrd || goto failed\nboot"
	if !strings.Contains(w.Body.String(), want) {
		t.Errorf("%s", w.Body)
	}
	if w := ask(c, three, "GET", "/image/amd64/linux", ""); w.Body.String() != "kernel" || c.Machines.List()[0].State != Fetching {
		t.Errorf("%q, %s", w.Body, c.Machines.List()[0].State)
	}
	if w := ask(c, three, "GET", "/image/amd64/initrd", ""); w.Body.String() != "initramfs" || c.Machines.List()[0].State != Started {
		t.Errorf("%q, %s", w.Body, c.Machines.List()[0].State)
	}
}

func TestHandlerLoader(t *testing.T) {
	c := site(people())
	if w := ask(c, one, "HEAD", "/loader/snponly.efi", ""); w.Code != http.StatusOK || w.Header().Get("Content-Length") != "3" || len(c.Machines.List()) != 0 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := ask(c, one, "GET", "/loader/snponly.efi", ""); w.Body.String() != "snp" || c.Machines.List()[0].State != Loading {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestHandlerRefuses(t *testing.T) {
	c := site(people())
	for _, r := range []struct {
		from, method, target, body string
		want                       int
	}{
		{stranger, "GET", "/script/00-00-01-00-00-00/efi-amd64", "", http.StatusForbidden},
		{two, "GET", "/script/00-00-01-00-00-00/efi-amd64", "", http.StatusForbidden},
		{two, "GET", "/script/00-00-02-00-00-00/efi-amd64", "", http.StatusInternalServerError},
		{one, "GET", "/script/00-00-01-00-00-00/efi-arm64", "", http.StatusNotFound},
		{one, "GET", "/script/00-00-01-00-00-00/efi-mips", "", http.StatusNotFound},
		{one, "GET", "/script/00:00:01:00:00:00/efi-amd64", "", http.StatusNotFound},
		{one, "GET", "/loader/secret", "", http.StatusNotFound},
		{one, "GET", "/loader/ipxe-arm64.efi", "", http.StatusNotFound},
		{one, "GET", "/loader/..%2f..%2fetc%2fpasswd", "", http.StatusNotFound},
		{one, "GET", "/image/amd64/disk.img", "", http.StatusNotFound},
		{one, "GET", "/image/arm64/os.efi", "", http.StatusNotFound},
		{one, "PUT", "/image/amd64/os.efi", "", http.StatusMethodNotAllowed},
		{one, "GET", "/config", "", http.StatusForbidden},
		{one, "POST", "/report", "done 100", http.StatusForbidden},
		{one, "POST", "/report", "nonsense", http.StatusBadRequest},
		{one, "POST", "/report", strings.Repeat("x", 1000), http.StatusBadRequest},
		{one, "GET", "/", "", http.StatusNotFound},
	} {
		if w := ask(c, r.from, r.method, r.target, r.body); w.Code != r.want {
			t.Errorf("%s %s %s: %d, want %d", r.from, r.method, r.target, w.Code, r.want)
		}
	}
	for _, m := range c.Machines.List() {
		if m.MAC == (MAC{2: 2}) && m.Problem != "its file is wrong" {
			t.Errorf("%+v", m)
		}
	}
}

func TestImageCheck(t *testing.T) {
	for line, ok := range map[string]bool{"a=b c": true, "a=${b}": false, "a\nb": false, "a\x00": false, "ä": false} {
		if err := (&Image{CommandLine: line}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func FuzzHandlerPath(f *testing.F) {
	for _, p := range []string{"/script/00-00-01-00-00-00/efi-amd64", "/loader/snponly.efi", "/loader/../secret", "/image/amd64/os.efi", "/config?t=x", "//secret", "/loader/%73ecret"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://192.168.77.1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.URL.Path = target; !strings.HasPrefix(target, "/") {
			return
		}
		r.RemoteAddr = stranger + ":1"
		w := httptest.NewRecorder()
		site(people()).Handler().ServeHTTP(w, r)
		if bytes.Contains(w.Body.Bytes(), []byte("secret")) && !strings.Contains(target, "secret") || w.Body.String() == "secret" || strings.Contains(w.Body.String(), "document") {
			t.Fatalf("%q gives %q", target, w.Body)
		}
	})
}
