package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/install"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/disklayout"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// bootFiles is where the root has what a disk needs beside the OS file.
const bootFiles = "/share/boot"

// targetPatience is how long a disk that an order names may take to appear.
const targetPatience = 20 * time.Second

// installs keeps two installations from running at once.
type installs struct{ busy sync.Mutex }

// installRequest is an order to install.
type installRequest struct {
	install.Order
	// once refuses to install again what stands on the disk already.
	once     bool
	progress func(api.InstallProgress)
}

// errInstalled says that the very same installation is on the disk.
var errInstalled = errors.New("this system is installed there already")

// installsItself reports whether the system installs itself without being asked.
func (m *machine) installsItself() bool {
	return m.live != nil && (m.cmdline.install.order != "" || m.config().Install.Disk != "")
}

// installAtBoot carries out the order of the kernel's command line or of the
// configuration. Without one, or when it fails, the node runs from memory.
func (m *machine) installAtBoot(ctx context.Context) error {
	if !m.installsItself() {
		return nil
	}
	c := m.config().Install
	r := installRequest{Order: install.Order{Disk: c.Disk, Wipe: c.Wipe}, once: true}
	tell := m.newReporter(ctx)
	r.progress = func(p api.InstallProgress) {
		m.heart.beat(phasePatience)
		tell.send(p)
	}
	err := m.bootOrder(&r)
	if err == nil {
		err = m.install(ctx, r)
	}
	switch {
	case errors.Is(err, errInstalled):
		tell.finish(api.InstallProgress{Step: api.InstallDone, Percent: 100, Message: err.Error()})
		m.board.SetProblem("install", err.Error()+": remove what the system was started from and reboot")
		return nil
	case err != nil:
		tell.finish(api.InstallProgress{Step: "failed", Message: err.Error()})
		return fmt.Errorf("%w; running from memory", err)
	}
	tell.finish(api.InstallProgress{Step: api.InstallDone, Percent: 100, Message: "installed"})
	switch c.After {
	case config.AfterStay:
	case config.AfterPowerOff:
		m.finish(actionPowerOff)
	default:
		m.finish(actionReboot)
	}
	return nil
}

// bootOrder completes an order that nobody gives now, or says why it is not followed.
func (m *machine) bootOrder(r *installRequest) (err error) {
	if words := m.cmdline.install.order; words != "" {
		if r.Order, err = install.ParseOrder(words); err != nil {
			return fmt.Errorf("mycelium.install on the kernel's command line: %w", err)
		}
	}
	switch {
	case m.live.unsure:
		return errors.New("several disks hold this system and nobody says which one the machine was started from: remove all but the stick and the one to install on, or order the installation by hand")
	case m.choice.Err != nil || m.choice.Fetch:
		return errors.New("the configuration that the installed system would get is wrong or missing")
	}
	return nil
}

// afterInstall does what was ordered to come after an installation.
func (m *machine) afterInstall(a api.InstallAfter) {
	switch a {
	case api.InstallPowerOff:
		m.request(actionPowerOff)
	case api.InstallReboot:
		m.request(actionReboot)
	}
}

// install puts the system onto a disk.
func (m *machine) install(ctx context.Context, r installRequest) error {
	if m.live == nil {
		return fmt.Errorf("%w: this node runs from its disk: start it from a stick that was made with \"mycelium flash --installer\", or from the network", api.ErrConflict)
	}
	if !m.installs.busy.TryLock() {
		return fmt.Errorf("%w: an installation is under way", api.ErrConflict)
	}
	defer m.installs.busy.Unlock()
	begin := time.Now()
	m.log.Warn("installation ordered", "disk", r.Disk, "wipe", r.Wipe, "at_boot", r.once)
	steps := m.newSteps(r)
	name, err := m.installOn(ctx, r, steps)
	m.log.Warn("installation ends", "disk", name, "seconds", time.Since(begin).Seconds(), "error", err)
	switch {
	case errors.Is(err, errInstalled):
		m.console.event(api.ConsoleEvent{Kind: api.EventInstall, Text: err.Error()})
		return err
	case err != nil:
		m.console.event(api.ConsoleEvent{Kind: api.EventInstall, Text: "failed: " + err.Error()})
		return err
	}
	m.console.event(api.ConsoleEvent{Kind: api.EventInstall, Text: name + ": done: the system is installed; remove what it was started from"})
	return nil
}

// installOn chooses the disk, gets what goes on it, and writes.
func (m *machine) installOn(ctx context.Context, r installRequest, steps *steps) (string, error) {
	layout, err := readLayout()
	if err != nil {
		return "", err
	}
	target, err := m.chooseTarget(ctx, r.Order, layout)
	if err != nil {
		return "", err
	}
	keep := target.Kind == install.Ours && !r.Wipe
	steps.disk = target.Name
	content, err := m.installContent(layout, target, keep)
	if err != nil {
		return target.Name, err
	}
	there := fmt.Errorf("%s: %w", target.Name, errInstalled)
	check := r.once && target.Kind == install.Ours
	if check && m.isInstalled(target, content, m.cmdline.install.sha256) {
		return target.Name, there // and nothing has to be fetched to know that
	}
	if content.Firmware, err = m.mediumFirmware(layout, target, keep); err != nil {
		return target.Name, err
	}
	osFile, err := m.openInstallSource(ctx, steps)
	if err != nil {
		return target.Name, err
	}
	defer osFile.close()
	if check && m.isInstalled(target, content, osFile.sha256) {
		return target.Name, there
	}
	content.OSFileSize, content.OpenOSFile = osFile.size, osFile.open
	content.Mark = installMark(osFile.sha256, content.Config)
	return target.Name, m.writeTarget(target, content, keep, steps)
}

func readLayout() (disklayout.Layout, error) {
	b, err := os.ReadFile(bootFiles + "/" + disklayout.LayoutFile)
	if errors.Is(err, fs.ErrNotExist) {
		return disklayout.Layout{}, fmt.Errorf("%w: a system for this board does not install itself: write its image to the disk with \"mycelium flash\"", api.ErrConflict)
	}
	if err != nil {
		return disklayout.Layout{}, fmt.Errorf("%w: this OS file does not carry what a disk needs: %w", api.ErrConflict, err)
	}
	return disklayout.Parse(b)
}

// chooseTarget waits a while for the disk that the order names.
func (m *machine) chooseTarget(ctx context.Context, o install.Order, l disklayout.Layout) (install.Disk, error) {
	for end := time.Now().Add(targetPatience); ; {
		d, err := install.Choose(m.targets(), o, l)
		switch {
		case err == nil:
			return d, nil
		case !errors.Is(err, install.ErrNoDisk):
			return d, fmt.Errorf("%w: %w", api.ErrConflict, err)
		case time.Now().After(end) || !sleep(ctx, time.Second):
			return d, fmt.Errorf("%w: %w", api.ErrNotFound, err)
		}
	}
}

// installContent is what goes onto the disk beside the OS file: the configuration is that which the
// system runs with, without what is about the installation; one that sets nothing
// leaves a disk of ours the one that it has.
func (m *machine) installContent(l disklayout.Layout, target install.Disk, keep bool) (disklayout.Content, error) {
	c := disklayout.Content{Layout: l, Source: os.DirFS(bootFiles), Time: time.Unix(0, 0)} // the time as updates have it
	var err error
	if c.Config, err = installedConfig(*m.config()); err != nil {
		return c, err
	}
	if keep {
		if err := m.keepFiles(&c, bootDisk{Disk: diskOf(target), table: target.Table}); err != nil {
			// A disk that cannot be read there needs the installation all the more.
			m.log.Warn("the files on the disk's EFI partition cannot be kept", "error", err)
		}
	}
	if c.Config == nil {
		if c.Config, err = os.ReadFile(bootFiles + "/" + disklayout.ConfigFile); err != nil {
			return c, fmt.Errorf("read the example of a configuration: %w", err)
		}
	}
	return c, nil
}

// mediumFirmware returns the firmware that the target gets, of a board that has it on the
// disk: what the machine was started with. A disk that is kept and has its own needs none.
func (m *machine) mediumFirmware(l disklayout.Layout, target install.Disk, keep bool) ([]byte, error) {
	if len(l.Firmware) == 0 {
		return nil, nil
	}
	if keep {
		if _, err := readFirmware(l, target.Name); err == nil {
			return nil, nil
		}
	}
	if m.live.medium == nil {
		return nil, fmt.Errorf("%w: this board's processor reads its firmware (%s) from the disk, and an installation copies that from the medium that the machine was started from: there is none. Start it from a card made with \"mycelium flash --installer\", or write the image to the disk", api.ErrConflict, l.Firmware[0].Name)
	}
	b, err := readFirmware(l, m.live.medium.Name)
	if err != nil {
		return nil, fmt.Errorf("%w: copy the board's firmware from %s: %w", api.ErrConflict, m.live.medium.Name, err)
	}
	return b, nil
}

// readFirmware reads the firmware on a disk.
func readFirmware(l disklayout.Layout, name string) ([]byte, error) {
	f, err := os.Open("/dev/" + name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return l.ReadFirmware(f)
}

// keepFiles reads what stays of the files on the EFI partition of d.
func (m *machine) keepFiles(c *disklayout.Content, d bootDisk) (err error) {
	if c.Config == nil {
		c.Config, err = d.configFile()
	}
	p, ok := d.table.Find(gpt.ESP, "")
	for _, f := range c.Layout.Files {
		if !f.Keep || !ok {
			continue
		}
		b, readErr := readFromFAT(d.partition(p), f.Name)
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		if c.Kept == nil {
			c.Kept = map[string][]byte{}
		}
		c.Kept[f.Name] = b
	}
	return err
}

// installedConfig returns the document for the installed system, nil when c sets
// nothing but what is about the installation.
func installedConfig(c config.Config) ([]byte, error) {
	c.Install = config.Install{}
	if c.IsDefault() {
		return nil, nil
	}
	return c.Document()
}

// isInstalled reports whether the target holds the installation that content is, with
// the OS file of that SHA-256.
func (m *machine) isInstalled(target install.Disk, content disklayout.Content, osFile string) bool {
	p, ok := target.Table.Find(gpt.ESP, "")
	if !ok || osFile == "" {
		return false
	}
	mark, err := readFromFAT(partitionPath(target.Name, p.Number), disklayout.InstalledFile)
	if err != nil || string(mark) != string(installMark(osFile, content.Config)) {
		return false
	}
	f, err := os.Open("/dev/" + target.Name)
	if err != nil {
		return false
	}
	defer f.Close()
	return content.Present(f, target.Table)
}

// writeTarget writes to the disk.
func (m *machine) writeTarget(target install.Disk, content disklayout.Content, keep bool, steps *steps) error {
	f, err := os.OpenFile("/dev/"+target.Name, os.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s, which nothing else may use: %w", target.Name, err)
	}
	defer f.Close()
	o := disklayout.Options{Progress: steps.at}
	if keep {
		o.Keep = target.Table
	} else {
		m.discardDisk(f, target)
	}
	d := targetDisk{&blockDevice{f, target.Size}}
	if err := disklayout.Install(d, target.Size, content, o); err != nil {
		return fmt.Errorf("install on %s: %w: the disk may start nothing until the installation is repeated", target, err)
	}
	// What the kernel believes to be there; busy is nothing that matters now.
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0); err != nil {
		m.log.Info("the kernel keeps the old partitions until the reboot", "disk", target.Name, "error", err)
	}
	return nil
}

// discardDisk tells a disk that is given up to drop what it holds, if it can.
func (m *machine) discardDisk(f *os.File, target install.Disk) {
	if target.Kind == install.Blank {
		return
	}
	const part = 1 << 30
	b := &blockDevice{f, target.Size}
	for off := int64(0); off < target.Size; off += part {
		m.heart.beat(phasePatience)
		if errno := b.onRange(unix.BLKDISCARD, off, min(part, target.Size-off)); errno != 0 {
			m.log.Info("the disk discards nothing: what was there is overwritten only in part", "disk", target.Name, "error", errno)
			return
		}
	}
}

// targetDisk is a disk that is installed on. Its Sync forgets what is in memory.
type targetDisk struct{ *blockDevice }

func (d targetDisk) Sync() error { return syncedDisk{d.File}.Sync() }
