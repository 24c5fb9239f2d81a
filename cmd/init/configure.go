package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/source"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/gpt"
)

const (
	// fwCfgConfig is where QEMU shows -fw_cfg name=opt/mycelium.os/config,file=...
	fwCfgConfig = "/sys/firmware/qemu_fw_cfg/by_name/opt/mycelium.os/config/raw"
	// oemStringsPattern is where the kernel shows the structures of
	// -smbios type=11,value=mycelium.os:config=...
	oemStringsPattern = "/sys/firmware/dmi/entries/11-*/raw"
	// configName is the file's name on the EFI partition.
	configName = "mycelium.yaml"
	efiMount   = "/run/efi"
	// setConfigPath keeps what the API set, fetchedPath what the URL gave.
	setConfigPath = "/state/config.json"
	fetchedPath   = "/state/config-fetched.json"
)

// loadConfig reads every source and runs with the document that counts (package
// source says which). One that is wrong is not half believed: the node runs with
// the defaults and says so.
func (m *machine) loadConfig(context.Context) error {
	m.sources = m.readSources()
	var err error
	m.set, err = readSet(setConfigPath)
	if m.cmdline.configAt == off {
		m.choice = source.Choice{Config: config.Default()}
		m.showSource("the defaults (mycelium.config=off)")
		return nil
	}
	m.choice = source.Choose(m.sources, m.set)
	m.conf.Store(m.choice.Config)
	m.log.Info("configuration chosen", "source", m.choice.Name, "error", m.choice.Err, "fetch", m.choice.Fetch, "replaced_by_the_api", m.choice.Replaced)
	m.showSource(m.choice.String())
	if m.choice.Err != nil {
		return errors.Join(fmt.Errorf("%w: running with the defaults", m.choice.Err), err)
	}
	return err
}

// showSource puts into the status where the configuration comes from.
func (m *machine) showSource(text string) {
	m.board.Update(func(s *api.Status) { s.Configuration = text })
}

// readSources returns the places that may have a document, first come first.
func (m *machine) readSources() []source.Candidate {
	list := []source.Candidate{m.fileSource()}
	if at := m.cmdline.configAt; at != "" && at != off {
		list = append(list, m.urlSource(at))
	}
	doc, err := readLimited(fwCfgConfig)
	return append(list, found("the configuration in fw_cfg", "fw_cfg", doc, err), smbiosSource())
}

// found is source.Found; a file that does not exist is no error.
func found(name, kind string, doc []byte, err error) source.Candidate {
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return source.Found(name, kind, doc, err)
}

func (m *machine) fileSource() source.Candidate {
	const name = configName + " on the EFI partition"
	d := m.sourceDisk()
	if d.table == nil {
		return source.Candidate{Name: name}
	}
	doc, err := d.configFile()
	return found(name, "file", doc, err)
}

// configFile reads the document on the disk's EFI partition, nil without one.
func (d *bootDisk) configFile() ([]byte, error) {
	p, ok := d.table.Find(gpt.ESP, "")
	if !ok {
		return nil, nil
	}
	return readFromFAT(d.partition(p), configName)
}

// urlSource returns what the command line's URL gave before, if that serves:
// then the boot does not wait for a server.
func (m *machine) urlSource(text string) source.Candidate {
	l, err := source.ParseLocation(text)
	if err != nil {
		return source.Found("mycelium.config on the kernel's command line", "url", nil, err)
	}
	kept, err := readFetched(m.fetchedPath, l)
	if err != nil {
		m.log.Warn("what was fetched before is not used", "error", err)
	}
	return source.Remote(l, kept)
}

func smbiosSource() source.Candidate {
	const name, kind = "the configuration in SMBIOS", "smbios"
	paths, err := filepath.Glob(oemStringsPattern)
	if err != nil {
		return found(name, kind, nil, err)
	}
	for _, path := range paths {
		raw, err := readLimitedTo(path, 2*config.MaxSize) // Base64 is longer
		if err == nil {
			raw, err = source.FromSMBIOS(raw)
		}
		if raw != nil || err != nil {
			return found(name, kind, raw, err)
		}
	}
	return source.Candidate{Name: name}
}

// readSet reads what is kept at path; nil when nothing is.
func readSet(path string) (*source.Set, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the configuration that is kept on STATE cannot be read: %w", err)
	}
	s, err := source.DecodeSet(b)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged and does not count: set the configuration again: %w", path, err)
	}
	return &s, nil
}

// readFetched returns the document that l gave before, nil when there is none
// that serves: another location's, or one that only another version of the OS
// understood.
func readFetched(path string, l source.Location) ([]byte, error) {
	kept, err := readSet(path)
	if kept == nil || err != nil {
		return nil, err
	}
	if !slices.Equal(kept.Replaces, []string{l.ID()}) {
		return nil, nil
	}
	if err := l.Check([]byte(kept.Document)); err != nil {
		return nil, err
	}
	return []byte(kept.Document), nil
}

// keepFetched keeps a document for the next boot.
func keepFetched(path string, l source.Location, doc []byte) error {
	if kept, err := readFetched(path, l); err == nil && slices.Equal(kept, doc) {
		return nil
	}
	b, err := source.Set{Replaces: []string{l.ID()}, Document: string(doc)}.Encode()
	if err != nil {
		return err
	}
	return durable.WriteFile(path, b, 0o600)
}

// readFromFAT reads one file of a FAT file system that is otherwise not mounted.
func readFromFAT(device, name string) (b []byte, err error) {
	err = withFAT(device, readonly, func(dir string) error {
		b, err = readLimited(filepath.Join(dir, name))
		return err
	})
	return b, err
}

// withFAT calls use with a directory where a FAT file system is mounted meanwhile.
func withFAT(device string, flags uintptr, use func(dir string) error) (err error) {
	if err := os.MkdirAll(efiMount, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(device, efiMount, "vfat", nosuid|nodev|noexec|unix.MS_NOATIME|flags, ""); err != nil {
		return fmt.Errorf("mount %s: %w: is it a FAT file system, and whole?", device, err)
	}
	defer func() {
		err = errors.Join(err, unix.Unmount(efiMount, unix.MNT_DETACH), os.Remove(efiMount))
	}()
	return use(efiMount)
}

// readLimited reads a file that config.Parse may refuse for its size.
func readLimited(path string) ([]byte, error) { return readLimitedTo(path, config.MaxSize) }

// readLimitedTo reads up to one byte more than limit.
func readLimitedTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// fieldNames joins the fields of changes, for people.
func fieldNames(changes []config.Change) string {
	names := make([]string, len(changes))
	for i, c := range changes {
		names[i] = c.Field
	}
	return strings.Join(names, ", ")
}
