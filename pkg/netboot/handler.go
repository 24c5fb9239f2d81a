package netboot

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Config is what a segment's machines are given.
type Config struct {
	Network Network
	// Images are the operating systems, by architecture.
	Images map[string]*Image
	// Loaders holds the files that [Loaders] names.
	Loaders fs.FS
	// Pi is the operating system for Raspberry Pis; nil for none.
	Pi *PiImage
	// Host says what a machine is given; nil: nothing of its own. It is asked at
	// each boot.
	Host func(MAC) (Host, error)
	// Neighbour returns the hardware address that an address of the segment has.
	// What is for one machine alone goes to no other. Nil leaves that out, and
	// serves no Raspberry Pi, which nothing else tells apart.
	Neighbour func(netip.Addr) (MAC, error)
	// Machines is told what they do.
	Machines *Machines
	// Log gets what goes wrong.
	Log *slog.Logger
}

// Handler returns what is served by HTTP:
//
//	/script/MAC/PLATFORM    iPXE's script for the machine
//	/loader/NAME            iPXE
//	/image/ARCH/os.efi      the operating system, or its parts linux and initrd
//	/config?t=WORD          the machine's configuration, with the word of its script
//	/report?t=WORD          POST: a Report of the machine's operating system
func (c *Config) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathScript+"{mac}/{platform}", c.serveScript)
	mux.HandleFunc("GET "+pathLoader+"{name}", c.serveLoader)
	mux.HandleFunc("GET "+pathImage+"{arch}/{file}", c.serveImage)
	mux.HandleFunc("GET "+pathConfig, c.serveConfig)
	mux.HandleFunc("POST "+pathReport, c.serveReport)
	return mux
}

// peer returns who asks: the address, and the machine if it is known.
func (c *Config) peer(r *http.Request) (a netip.Addr, mac MAC, known bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, MAC{}, false
	}
	a = ap.Addr().Unmap()
	mac, known = c.machine(a)
	return a, mac, known
}

func (c *Config) machine(a netip.Addr) (MAC, bool) {
	if c.Neighbour == nil {
		return c.Machines.byAddress(a)
	}
	mac, err := c.Neighbour(a)
	if err != nil {
		c.Log.Warn("no hardware address of a machine that asks", "address", a, "error", err)
	}
	return mac, err == nil
}

func (c *Config) serveScript(w http.ResponseWriter, r *http.Request) {
	mac, platform, err := parseScriptPath(r.PathValue("mac") + "/" + r.PathValue("platform"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	from, who, known := c.peer(r)
	if c.Neighbour != nil && (!known || who != mac) {
		c.Log.Warn("refused a script: it is another machine's", "for", mac, "from", from, "machine", who)
		http.Error(w, errStranger.Error(), http.StatusForbidden)
		return
	}
	image := c.Images[platform.Arch]
	if image == nil {
		http.NotFound(w, r)
		return
	}
	var host Host
	if c.Host != nil {
		if host, err = c.Host(mac); err != nil {
			c.Log.Error("a machine cannot boot", "machine", mac, "error", err)
			c.Machines.change(mac, func(e *entry) { e.Problem = err.Error() })
			http.Error(w, "the server's terminal says why", http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=us-ascii")
	word, disk := c.Machines.script(mac, from, platform, host.Config, host.Install != "")
	if disk {
		_, _ = io.WriteString(w, diskScript(platform)) // it asks again if this gets lost
		return
	}
	_, _ = io.WriteString(w, script(c.Network, platform, image, host.arguments(c.Network, image, platform.Arch, word)))
}

func (c *Config) serveLoader(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	content, err := c.loader(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	c.send(w, r, name, eventLoader, eventLoader, bytes.NewReader(content))
}

func (c *Config) serveImage(w http.ResponseWriter, r *http.Request) {
	image := c.Images[r.PathValue("arch")]
	if image == nil {
		http.NotFound(w, r)
		return
	}
	file, end := "/"+r.PathValue("file"), eventSystemEnd
	var content *io.SectionReader
	switch file {
	case fileEFI:
		content = image.EFI
	case fileLinux:
		content, end = image.Linux, eventSystem // the initramfs follows
	case fileInitrd:
		content = image.Initrd
	default:
		http.NotFound(w, r)
		return
	}
	c.send(w, r, file[1:], eventSystem, end, io.NewSectionReader(content, 0, content.Size()))
}

// send sends a file and notes how it goes: during while it is on its way, end
// once the last byte was written.
func (c *Config) send(w http.ResponseWriter, r *http.Request, name string, during, end event, content io.ReadSeeker) {
	if strings.HasSuffix(name, ".efi") {
		w.Header().Set("Content-Type", "application/efi") // UEFI 2.10 section 24.7.3.3
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	from, mac, known := c.peer(r)
	if known && r.Method == http.MethodGet {
		size, err := content.Seek(0, io.SeekEnd)
		if err != nil {
			http.Error(w, "the file cannot be read", http.StatusInternalServerError)
			return
		}
		whole := r.Header.Get("Range") == ""
		w = &counted{ResponseWriter: w, wrote: func(sent int64) {
			e := during
			if whole && sent == size {
				e = end
			}
			c.Machines.fetches(mac, from, name, e, sent, size)
		}}
	}
	http.ServeContent(w, r, "", time.Time{}, content)
}

// counted tells how many bytes of the body were written.
type counted struct {
	http.ResponseWriter
	sent  int64
	wrote func(sent int64)
}

func (w *counted) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.sent += int64(n)
	w.wrote(w.sent)
	return n, err
}

func (c *Config) serveConfig(w http.ResponseWriter, r *http.Request) {
	from, mac, known := c.peer(r)
	document, err := []byte(nil), errStranger
	if known {
		document, err = c.Machines.document(mac, r.URL.Query().Get("t"))
	}
	if err != nil {
		c.Log.Warn("refused a configuration", "from", from, "machine", mac, "error", err)
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(document) // it asks again if this gets lost
}

func (c *Config) serveReport(w http.ResponseWriter, r *http.Request) {
	from, mac, known := c.peer(r)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxReport))
	if err != nil {
		http.Error(w, "the report cannot be read", http.StatusBadRequest)
		return
	}
	report, err := ParseReport(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	err = errStranger
	if known {
		err = c.Machines.report(mac, r.URL.Query().Get("t"), report)
	}
	if err != nil {
		c.Log.Warn("refused a report", "from", from, "machine", mac, "error", err)
		http.Error(w, err.Error(), http.StatusForbidden)
	}
}

// maxLoader bounds a loader's size in bytes.
const maxLoader = 16 << 20

// loader returns a file of iPXE by its name.
func (c *Config) loader(name string) ([]byte, error) {
	if c.Loaders == nil || !slices.Contains(Loaders(), name) {
		return nil, fs.ErrNotExist
	}
	f, err := c.Loaders.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxLoader+1))
	if err == nil && len(content) > maxLoader {
		err = errors.New("too large for a loader")
	}
	return content, err
}
