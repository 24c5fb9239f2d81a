package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/disk"
	"github.com/digital-mycelium/os/cmd/init/internal/install"
	"github.com/digital-mycelium/os/cmd/init/internal/source"
	"github.com/digital-mycelium/os/pkg/gpt"
)

const (
	// installMount shows the slot of the medium, fetchedOSFile is what was fetched.
	installMount  = "/run/install"
	fetchedOSFile = "/tmp/os.efi"
	// maxOSFile is the largest OS file that is fetched, in bytes.
	maxOSFile = 512 << 20
	// imageAttempts is how often a boot asks for the OS file.
	imageAttempts = 8
)

// installSource is the OS file that is installed.
type installSource struct {
	path   string
	size   int64
	sha256 string
	close  func()
}

func (s *installSource) open() (io.ReadCloser, error) { return os.Open(s.path) }

// openInstallSource finds the OS file: at the command line's URL, or on the medium.
// The caller must close it.
func (m *machine) openInstallSource(ctx context.Context, steps *steps) (*installSource, error) {
	var s *installSource
	var err error
	switch {
	case m.cmdline.install.image != "":
		steps.at("fetch", 0)
		s, err = m.fetchOSFile(ctx)
	case m.live.medium != nil:
		s, err = m.mediumOSFile()
	default:
		return nil, errors.New("this system was not started from a disk that it could be read from: give mycelium.install.image=URL on the kernel's command line")
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.path)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("read the OS file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if s.size, err = io.Copy(h, f); err != nil {
		s.close()
		return nil, fmt.Errorf("read the OS file: %w", err)
	}
	s.sha256 = hex.EncodeToString(h.Sum(nil))
	return s, nil
}

// mediumOSFile mounts the slot that the system was started from, read-only.
func (m *machine) mediumOSFile() (*installSource, error) {
	d := m.live.medium
	p, ok := d.table.Find(gpt.XBOOTLDR, "")
	for _, q := range d.table.Partitions {
		if (q.Type == gpt.Slot || q.Type == gpt.XBOOTLDR) && slices.ContainsFunc(m.live.loader, func(id string) bool { return strings.EqualFold(id, q.ID.String()) }) {
			p, ok = q, true
		}
	}
	if !ok {
		return nil, fmt.Errorf("%s has no slot with an OS file", d.Name)
	}
	if err := os.MkdirAll(installMount, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount(d.partition(p), installMount, "vfat", nosuid|nodev|noexec|readonly, ""); err != nil {
		return nil, fmt.Errorf("mount slot %s of %s, which the system was started from: %w: is it still plugged in?", p.Name, d.Name, err)
	}
	end := func() { _ = unix.Unmount(installMount, unix.MNT_DETACH) }
	return &installSource{path: installMount + "/" + slotFile, close: end}, nil
}

// fetchOSFile gets the OS file from the command line's URL, into memory.
func (m *machine) fetchOSFile(ctx context.Context) (*installSource, error) {
	words := m.cmdline.install
	want, err := imagePin(words.image, words.sha256)
	if err != nil {
		return nil, err
	}
	last := errors.New("the node has no address yet: is a cable plugged in, and a DHCP server there?")
	for n := 1; n <= imageAttempts; n++ {
		wait, cancel := context.WithTimeout(ctx, time.Minute)
		_, err := m.net.waitAddress(wait, 0)
		cancel()
		if err == nil {
			if last = fetchFile(ctx, words.image, fetchedOSFile, want); last == nil {
				return &installSource{path: fetchedOSFile, close: func() { _ = os.Remove(fetchedOSFile) }}, nil
			}
		}
		m.log.Warn("OS file not fetched", "attempt", n, "error", last)
		m.heart.beat(phasePatience)
		if !sleep(ctx, min(source.Backoff(n), 20*time.Second)) {
			break
		}
	}
	return nil, fmt.Errorf("fetch the OS file: %w", last)
}

// imagePin checks the words about the OS file. The digest is required where nothing
// else says that the file is the right one.
func imagePin(image, digest string) ([]byte, error) {
	u, err := url.Parse(image)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("mycelium.install.image on the kernel's command line is no http or https URL")
	}
	if digest == "" && u.Scheme == "https" {
		return nil, nil
	}
	sum, err := hex.DecodeString(digest)
	if err != nil || len(sum) != sha256.Size {
		return nil, errors.New("mycelium.install.sha256 on the kernel's command line: over http the OS file's SHA-256 is needed, 64 hexadecimal digits as sha256sum prints them")
	}
	return sum, nil
}

// fetchFile gets what is at address once. The error does not show the address: it
// may hold a password.
func fetchFile(ctx context.Context, address, path string, want []byte) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return errors.New("the URL cannot be asked for")
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 30 * time.Second}}).Do(req)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path)
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(resp.Body, maxOSFile+1))
	switch {
	case err != nil:
		return fmt.Errorf("after %d bytes: %w", n, err)
	case n > maxOSFile:
		return fmt.Errorf("it has more than %d bytes", maxOSFile)
	case want != nil && string(h.Sum(nil)) != string(want):
		return fmt.Errorf("it has the SHA-256 %x, the command line wants %x", h.Sum(nil), want)
	}
	return nil
}

// installMark says which installation this is: the same OS file with the same
// configuration is not installed a second time by a boot.
func installMark(osFile string, config []byte) []byte {
	return fmt.Appendf(nil, "system %s\nconfiguration %x\n", strings.ToLower(osFile), sha256.Sum256(config))
}

// targets are the disks of the machine and what is on them.
func (m *machine) targets() []install.Disk {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil
	}
	var disks []install.Disk
	for _, e := range entries {
		dir := filepath.Join("/sys/block", e.Name())
		sectors, _ := strconv.ParseInt(readLine(filepath.Join(dir, "size")), 10, 64)
		if sectors == 0 || !isTarget(e.Name()) {
			continue
		}
		sector, _ := strconv.Atoi(readLine(filepath.Join(dir, "queue/logical_block_size")))
		d := install.Disk{
			Name: e.Name(), Model: diskModel(dir), Serial: diskSerial(dir), Size: sectors * 512, SectorSize: sector,
			Removable: readLine(filepath.Join(dir, "removable")) == "1", ReadOnly: readLine(filepath.Join(dir, "ro")) == "1",
			Medium: m.live != nil && m.live.medium != nil && m.live.medium.Name == e.Name(),
		}
		if d.Content, err = inspectDisk(d.Name, d.Size); err != nil {
			d.Content = install.Content{Text: "something that cannot be read: " + err.Error()}
		}
		disks = append(disks, d)
	}
	return disks
}

func inspectDisk(name string, size int64) (install.Content, error) {
	f, err := os.Open("/dev/" + name)
	if err != nil {
		return install.Content{}, err
	}
	defer f.Close()
	return install.Inspect(f, size)
}

// isTarget tells disks that a system may live on from optical drives, floppies,
// network disks, what is made of other disks, and the boot parts of an eMMC.
func isTarget(name string) bool {
	if !isDisk(name) || strings.Contains(name, "boot") || strings.Contains(name, "rpmb") {
		return false
	}
	for _, prefix := range []string{"sr", "fd", "dm-", "md", "nbd", "mtd", "zd"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}

// diskSerial is what tells the disk from others of its model, "" when it does not say.
func diskSerial(dir string) string {
	for _, file := range []string{"serial", "device/serial", "device/vpd_pg80"} {
		if s := strings.Join(strings.FieldsFunc(readLine(filepath.Join(dir, file)), func(r rune) bool { return r <= ' ' || r > '~' }), ""); s != "" {
			return s
		}
	}
	return ""
}

// diskOf is a disk to install on as one that might be the system's own.
func diskOf(d install.Disk) disk.Disk { return disk.Disk{Name: d.Name, Size: d.Size, Table: d.Table} }
