package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/gpt"
)

const (
	// fwCfgConfig is where QEMU shows -fw_cfg name=opt/mycelium.os/config,file=...
	fwCfgConfig = "/sys/firmware/qemu_fw_cfg/by_name/opt/mycelium.os/config/raw"
	// configName is the file's name on the EFI partition.
	configName = "mycelium.yaml"
	efiMount   = "/run/efi"
)

// loadConfig finds the boot disk and reads the configuration from the first
// source that has one: the virtual machine's owner (fw_cfg), the EFI partition,
// the defaults. A document that is wrong is not half believed: the node runs
// with the defaults and says so.
func (m *machine) loadConfig(ctx context.Context) error {
	m.disk = findBootDisk(ctx, m.log)
	if m.cmdline.noConfig {
		return nil
	}
	doc, source, err := m.readConfig()
	if err != nil {
		return fmt.Errorf("%w: running with the defaults", err)
	}
	if doc == nil {
		m.log.Info("no configuration: running with the defaults")
		return nil
	}
	c, err := config.Parse(doc)
	if err != nil {
		return fmt.Errorf("%s is wrong: %w: running with the defaults", source, err)
	}
	m.config = c
	m.log.Info("configuration read", "source", source)
	return nil
}

// readConfig returns the document of the first source, nil when none has one.
func (m *machine) readConfig() (doc []byte, source string, err error) {
	doc, err = readLimited(fwCfgConfig)
	if err == nil {
		return doc, "the configuration in fw_cfg", nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("read the configuration in fw_cfg: %w", err)
	}
	if m.disk.table == nil {
		return nil, "", nil
	}
	p, ok := m.disk.table.Find(gpt.ESP, "")
	if !ok {
		return nil, "", nil
	}
	source = configName + " on the EFI partition"
	doc, err = readFromFAT(m.disk.partition(p), configName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", source, err)
	}
	return doc, source, nil
}

// readFromFAT reads one file of a FAT file system that is otherwise not mounted.
func readFromFAT(device, name string) (b []byte, err error) {
	if err := os.MkdirAll(efiMount, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount(device, efiMount, "vfat", nosuid|nodev|noexec|readonly, ""); err != nil {
		return nil, fmt.Errorf("mount %s: %w", device, err)
	}
	defer func() {
		err = errors.Join(err, unix.Unmount(efiMount, unix.MNT_DETACH), os.Remove(efiMount))
	}()
	return readLimited(efiMount + "/" + name)
}

// readLimited reads a file that config.Parse may refuse for its size.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, config.MaxSize+1))
}
