// Command pimachine stands in for QEMU's program where a machine is to be a Raspberry
// Pi: it is given the command line of a PC (package qemu), takes from it the disk, the
// monitor, the serial port and the network, does the firmware's part (package pi), and
// runs QEMU's Raspberry Pi with what the firmware chose. A reboot of the guest comes
// back here, because the firmware chooses anew; whether it asked for a trial is seen by
// what it told the firmware's mailbox.
//
// Two arguments of its own, behind the others: -pi-model raspi3b|raspi4b, -pi-qemu PATH.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/digital-mycelium/os/ci/lab/pi"
)

// machines are QEMU's, with the models that they are.
func machines() map[string]machine {
	return map[string]machine{
		// USB is all that it has for a network. Its PL011 has Bluetooth.
		"raspi3b": {model: "pi3", usb: true, args: []string{"-serial", "null"}},
		// It has neither USB host nor Ethernet in QEMU 10.
		"raspi4b": {model: "pi4", tree: qemuTree4(), console: "ttyAMA0"},
	}
}

// machine is one of QEMU's.
type machine struct {
	model string
	usb   bool
	args  []string
	// tree are fdtput's arguments, for each of its runs, that make the device tree one of
	// what the machine has; console is in the place of the Raspberry Pi 5's.
	tree    [][]string
	console string
}

// qemuTree4 is how QEMU's Raspberry Pi 4 differs from the device tree, as far as QEMU does
// not change that by itself. Reading what is not there ends the kernel: the HDMI block.
// The mini UART's interrupt never goes away, so that the console is the PL011, without
// Bluetooth. The card is at the controller that the wireless chip has.
func qemuTree4() [][]string {
	const card = "/soc/mmc@7e300000"
	list := [][]string{
		{"-r", treeFile, "/soc/serial@7e201000/bluetooth", card + "/wifi@1"},
		{"-d", treeFile, card, "mmc-pwrseq", "non-removable", "pinctrl-0", "pinctrl-names"},
	}
	for _, node := range []string{
		"/soc/clock@7ef00000", "/soc/interrupt-controller@7ef00100", "/soc/hdmi@7ef00700", "/soc/i2c@7ef04500",
		"/soc/hdmi@7ef05700", "/soc/i2c@7ef09500", "/soc/serial@7e215040", "/emmc2-bus@fe000000/mmc@7e340000",
	} {
		list = append(list, []string{"-t", "s", treeFile, node, "status", "disabled"})
	}
	return list
}

func main() {
	log.SetFlags(0)
	if err := run(context.Background(), os.Args[1:]); err != nil {
		log.Fatal("pimachine: ", err)
	}
}

// The files in the working directory, which is the machine's.
const (
	diskFile = "disk.img"
	confFile = "config.yaml"
	treeFile = "tree.dtb"
	logFile  = "unimplemented.log"
)

func run(ctx context.Context, pc []string) error {
	name, program := value(pc, "-pi-model"), value(pc, "-pi-qemu")
	m, ok := machines()[name]
	if !ok || program == "" {
		return errors.New("want -pi-model raspi3b or raspi4b, and -pi-qemu")
	}
	model, err := pi.FindModel(m.model)
	if err != nil {
		return err
	}
	if config, err := os.ReadFile(confFile); err == nil {
		if err := pi.PutConfig(ctx, diskFile, config); err != nil {
			return err
		}
	}
	for tryboot := false; ; {
		boot, err := pi.Choose(ctx, diskFile, model, tryboot)
		if err != nil {
			return fmt.Errorf("the firmware starts nothing: %w", err)
		}
		fmt.Printf("pimachine: partition %d, tryboot %v, %s, %q\n", boot.Partition, tryboot, boot.Tree, boot.CommandLine)
		args, err := arguments(ctx, name, m, boot, pc)
		if err != nil {
			return err
		}
		if err := os.RemoveAll(logFile); err != nil {
			return err
		}
		again, err := power(ctx, program, args)
		if err != nil || !again {
			return err
		}
		if tryboot, err = pi.AskedToTry(logFile); err != nil {
			return err
		}
	}
}

// power runs QEMU, and reports whether the guest rebooted.
func power(ctx context.Context, program string, args []string) (reboot bool, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	reason, watchErr := pi.WatchEnd("pi.qmp", ended)
	if err := <-ended; err != nil {
		return false, fmt.Errorf("QEMU: %w", err)
	}
	return reason == "guest-reset" || reason == "guest-panic", watchErr
}

// value returns the argument behind an option.
func value(args []string, option string) string {
	i := slices.Index(args, option)
	if i < 0 || i+1 >= len(args) {
		return ""
	}
	return args[i+1]
}

// noWatchdog: QEMU resets its Raspberry Pi as soon as the watchdog is armed
// (hw/misc/bcm2835_powermgt.c), and not when its time is up.
const noWatchdog = "mycelium.watchdog=off"

// arguments are QEMU's for a start.
func arguments(ctx context.Context, name string, m machine, boot *pi.Boot, pc []string) ([]string, error) {
	for file, content := range map[string][]byte{"kernel8.img": boot.Kernel, "initramfs": boot.Initramfs, treeFile: boot.DeviceTree} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return nil, err
		}
	}
	commandLine := boot.CommandLine
	if m.console != "" {
		commandLine = strings.Replace(commandLine, "console=ttyAMA10", "console="+m.console, 1)
	}
	for _, change := range m.tree {
		if out, err := exec.CommandContext(ctx, "fdtput", change...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("fdtput %s (apt-get install device-tree-compiler): %w: %s", strings.Join(change, " "), err, out)
		}
	}
	args := []string{
		"-machine", name, "-accel", "tcg,thread=multi,tb-size=1024", "-nodefaults", "-display", "none",
		"-action", "reboot=shutdown", "-d", "unimp", "-D", logFile,
		"-kernel", "kernel8.img", "-initrd", "initramfs", "-dtb", treeFile, "-append", commandLine + " " + noWatchdog,
		"-drive", "if=sd,format=raw,discard=unmap,file=" + diskFile,
		"-chardev", "socket,id=pi,path=pi.qmp,server=on,wait=off", "-mon", "chardev=pi,mode=control",
	}
	args = append(args, m.args...)
	for i := 0; i+1 < len(pc); i++ {
		switch option, v := pc[i], pc[i+1]; {
		case option == "-name", option == "-mon", option == "-serial", option == "-chardev":
			args = append(args, option, v)
			i++
		case option == "-netdev" && m.usb:
			id, _, _ := strings.Cut(strings.TrimPrefix(v[strings.Index(v, "id="):], "id="), ",")
			args = append(args, option, v, "-device", "usb-net,netdev="+id)
			i++
		}
	}
	return args, nil
}
