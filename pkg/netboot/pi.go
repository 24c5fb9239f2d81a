package netboot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// PiImage is an operating system for Raspberry Pis. Their firmware fetches files by
// TFTP, by names that it knows or finds in config.txt, and each of them after having
// asked for others that are not there.
type PiImage struct {
	// Name is for people, such as the board's and the version.
	Name string
	// Files are what the firmware asks for, but for the kernel's command line.
	Files fs.FS
	// CommandLine is the kernel's, CommandLineFile the file that the firmware reads it
	// from. Each machine gets it with arguments of its own.
	CommandLine, CommandLineFile string
	// System are the files which a machine that has them all starts: the kernel and the
	// initramfs.
	System []string
}

// ErrPiInstall says that a Raspberry Pi was to install itself.
var ErrPiInstall = errors.New("a Raspberry Pi cannot install itself: write its image to the disk with \"mycelium flash\", or let it run from memory")

// openPi returns a file for the Raspberry Pi at the address a; fs.ErrNotExist when
// there is none of that name, which is what firmware mostly asks for.
func (c *Config) openPi(name string, a netip.Addr) (io.ReadCloser, int64, error) {
	var f fs.File
	var size int64
	if name != c.Pi.CommandLineFile {
		var err error
		if f, size, err = openFile(c.Pi.Files, name); err != nil {
			return nil, 0, err
		}
	}
	mac, host, err := c.piHost(a)
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, 0, err
	}
	if f == nil {
		word := c.Machines.piLine(mac, a, host.Config)
		line := strings.TrimSpace(c.Pi.CommandLine+" "+host.arguments(c.Network, nil, "", word)) + "\n"
		return io.NopCloser(strings.NewReader(line)), int64(len(line)), nil
	}
	return &watched{ReadCloser: f, read: func(n int64) {
		c.Machines.fetches(mac, a, name, eventSystem, n, size)
		if n == size {
			c.Machines.piHas(mac, name, c.Pi.System)
		}
	}}, size, nil
}

// openFile opens a regular file; an error is fs.ErrNotExist.
func openFile(files fs.FS, name string) (fs.File, int64, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, 0, fs.ErrNotExist
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		_ = f.Close()
		return nil, 0, fs.ErrNotExist
	}
	return f, st.Size(), nil
}

// piHost returns which Raspberry Pi is at the address a, and what it is given. One that
// cannot be given that gets nothing at all: without the file of its command line the
// firmware would start the kernel with one of its own.
func (c *Config) piHost(a netip.Addr) (MAC, Host, error) {
	if c.Neighbour == nil {
		return MAC{}, Host{}, errStranger
	}
	mac, err := c.Neighbour(a)
	if err != nil {
		c.Log.Warn("no hardware address of a machine that asks", "address", a, "error", err)
		return MAC{}, Host{}, errStranger
	}
	var host Host
	if c.Host != nil {
		host, err = c.Host(mac)
	}
	if err == nil && host.Install != "" {
		err = ErrPiInstall
	}
	if err != nil {
		c.Machines.change(mac, func(e *entry) {
			if e.Problem != err.Error() { // it asks for many files
				c.Log.Error("a machine cannot boot", "machine", mac, "error", err)
			}
			e.Problem = err.Error()
		})
		return mac, Host{}, errors.New("the server's terminal says why")
	}
	return mac, host, nil
}

// piFile takes off the folder that a Raspberry Pi looks in first: its serial number or
// with another setting in its EEPROM its hardware address. Every Pi gets the same
// files.
func piFile(name string) string {
	dir, rest, ok := strings.Cut(name, "/")
	if _, err := ParseMAC(dir); ok && (err == nil || len(dir) == 8 && strings.Trim(dir, "0123456789abcdef") == "") {
		name = rest
	}
	return path.Clean(name)
}

// piAgain is how long a Raspberry Pi that asks for its command line again gets the same
// one: its firmware asks first for the size, and repeats what is not answered at once.
const piAgain = time.Minute

// piLine notes that a Raspberry Pi gets its command line, and returns the word that
// its system shows when it asks for the document.
func (m *Machines) piLine(mac MAC, from netip.Addr, document []byte) (word string) {
	m.change(mac, func(e *entry) {
		e.Address, e.Way, e.Platform, e.Problem = from, Pi, Platform{Arch: "arm64"}, ""
		begun := e.boot.until.Add(-documentTime)
		if e.boot.word == "" || !bytes.Equal(e.boot.document, document) || m.now().Sub(begun) >= piAgain {
			e.boot = m.newBoot(document)
		}
		word = e.boot.word
		if e.State != Started { // the order of the files is the firmware's
			e.State = next(e.State, eventScript)
		}
	})
	return word
}

// piHas notes that a Raspberry Pi has got all of a file. With all of the system it
// starts.
func (m *Machines) piHas(mac MAC, file string, system []string) {
	m.change(mac, func(e *entry) {
		if !slices.Contains(e.whole, file) {
			e.whole = append(e.whole, file)
		}
		for _, name := range system {
			if !slices.Contains(e.whole, name) {
				return
			}
		}
		e.State, e.whole = next(e.State, eventSystemEnd), nil
	})
}

// Check refuses an image that no machine could start.
func (i *PiImage) Check() error {
	if printable(i.CommandLine) != i.CommandLine || i.CommandLineFile == "" {
		return fmt.Errorf("%s: the kernel's command line is none of one line", i.Name)
	}
	for _, name := range i.System {
		f, _, err := openFile(i.Files, name)
		if err != nil {
			return fmt.Errorf("%s has no %s", i.Name, name)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
