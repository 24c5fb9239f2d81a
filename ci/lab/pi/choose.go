package pi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/u-root/u-root/pkg/dt"
)

// Boot is what the firmware starts.
type Boot struct {
	// Partition is the number of the one that it was read from.
	Partition int
	// Tryboot is the flag that the machine was rebooted with.
	Tryboot bool
	// Kernel, Initramfs and DeviceTree are whole files; the device tree has what the
	// firmware adds.
	Kernel, Initramfs, DeviceTree []byte
	// CommandLine is the kernel's.
	CommandLine string
	// Tree is the name of the device tree's file.
	Tree string
	// Settings are what config.txt says to the model.
	Settings map[string]string
}

// Choose starts the disk image at path on a model. tryboot is the flag of the last
// reboot; a power cycle has cleared it.
func Choose(ctx context.Context, path string, model Model, tryboot bool) (*Boot, error) {
	d, err := openDisk(ctx, path)
	if err != nil {
		return nil, err
	}
	first, err := d.fat(1)
	if err != nil {
		return nil, err
	}
	if !model.EEPROM {
		if _, err := d.read(ctx, first, "bootcode.bin"); err != nil {
			return nil, fmt.Errorf("the ROM finds no boot loader on partition 1: %w", err)
		}
	}
	number, ab, err := autoboot(ctx, d, first, model, tryboot)
	if err != nil {
		return nil, fmt.Errorf("autoboot.txt: %w", err)
	}
	p, err := d.fat(number)
	if err != nil {
		return nil, err
	}
	for _, name := range model.Firmware {
		if _, err := d.read(ctx, p, name); err != nil {
			return nil, fmt.Errorf("partition %d is not one to start: %w", number, err)
		}
	}
	name := "config.txt"
	if tryboot && !ab {
		name = "tryboot.txt"
	}
	text, err := d.read(ctx, p, name)
	if err != nil {
		return nil, fmt.Errorf("partition %d: %w", number, err)
	}
	s, err := parse(string(text), model, tryboot)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	b := &Boot{Partition: number, Tryboot: tryboot, Settings: s}
	return b, b.load(ctx, d, p, model)
}

// autoboot returns the partition that autoboot.txt names, and its tryboot_a_b.
func autoboot(ctx context.Context, d *card, first partition, model Model, tryboot bool) (number int, ab bool, err error) {
	text, err := d.read(ctx, first, "autoboot.txt")
	if errors.Is(err, errNoFile) {
		return 1, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if len(text) > 512 {
		return 0, false, fmt.Errorf("it has %d bytes, the firmware takes 512", len(text))
	}
	s, err := parse(padded(text), model, tryboot)
	if err != nil {
		return 0, false, err
	}
	if number, err = strconv.Atoi(s["boot_partition"]); err != nil {
		return 0, false, fmt.Errorf("boot_partition: %w", err)
	}
	return number, s["tryboot_a_b"] == "1", nil
}

// padded shortens the comment that fills autoboot.txt up, which is one long line.
func padded(text []byte) string { return strings.TrimRight(string(text), "#") }

// load reads what config.txt names.
func (b *Boot) load(ctx context.Context, d *card, p partition, model Model) error {
	for _, name := range []string{"os_prefix", "upstream_kernel", "dtoverlay", "dtparam", "include", "ramfsfile", "auto_initramfs", "kernel_address", "start_file", "gpu_mem"} {
		if _, ok := b.Settings[name]; ok {
			return fmt.Errorf("config.txt: %s is not simulated", name)
		}
	}
	if b.Settings["arm_64bit"] != "1" {
		return errors.New("config.txt: no arm_64bit=1, and no kernel of 32 bits")
	}
	or := func(name, def string) string {
		if v := b.Settings[name]; v != "" {
			return v
		}
		return def
	}
	initramfs, where, _ := strings.Cut(b.Settings["initramfs"], " ")
	if where != "followkernel" {
		return fmt.Errorf("config.txt: initramfs %q: want one that follows the kernel", b.Settings["initramfs"])
	}
	var err error
	if b.Kernel, err = d.read(ctx, p, or("kernel", "kernel8.img")); err != nil {
		return err
	}
	if b.Initramfs, err = d.read(ctx, p, initramfs); err != nil {
		return err
	}
	line, err := d.read(ctx, p, or("cmdline", "cmdline.txt"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(line), "\n")
	b.CommandLine = strings.TrimSpace(first)
	names := model.DeviceTree
	if name := b.Settings["device_tree"]; name != "" {
		names = []string{name}
	}
	var tree []byte
	for _, name := range names {
		if tree, err = d.read(ctx, p, name); err == nil {
			b.Tree = name
			break
		}
	}
	if err != nil {
		return err
	}
	b.DeviceTree, err = b.tell(tree)
	return err
}

// tell adds to a device tree what the firmware tells the kernel of the start.
func (b *Boot) tell(tree []byte) ([]byte, error) {
	fdt, err := dt.ReadFDT(bytes.NewReader(tree))
	if err != nil {
		return nil, fmt.Errorf("read the device tree %s: %w", b.Tree, err)
	}
	chosen, ok := fdt.RootNode.LookupChildByName("chosen")
	if !ok {
		chosen = dt.NewNode("chosen")
		fdt.RootNode.Children = append(fdt.RootNode.Children, chosen)
	}
	flag := uint32(0)
	if b.Tryboot {
		flag = 1
	}
	chosen.Children = append(chosen.Children, dt.NewNode("bootloader", dt.WithProperty(
		dt.PropertyU32("boot-mode", 1), // SD card
		dt.PropertyU32("partition", uint32(b.Partition)),
		dt.PropertyU32("tryboot", flag),
	)))
	var out bytes.Buffer
	if _, err := fdt.Write(&out); err != nil {
		return nil, fmt.Errorf("write the device tree: %w", err)
	}
	return out.Bytes(), nil
}
