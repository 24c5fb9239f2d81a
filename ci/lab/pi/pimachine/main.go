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
		// USB is all that it has for a network.
		"raspi3b": {"pi3", true},
		// It has neither USB host nor Ethernet in QEMU 10.
		"raspi4b": {"pi4", false},
	}
}

type machine struct {
	model string
	usb   bool
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
		args, err := arguments(name, m, boot, pc)
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
func arguments(name string, m machine, boot *pi.Boot, pc []string) ([]string, error) {
	for file, content := range map[string][]byte{"kernel8.img": boot.Kernel, "initramfs": boot.Initramfs, "tree.dtb": boot.DeviceTree} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return nil, err
		}
	}
	args := []string{
		"-machine", name, "-accel", "tcg,thread=multi,tb-size=1024", "-nodefaults", "-display", "none",
		"-action", "reboot=shutdown", "-d", "unimp", "-D", logFile,
		"-kernel", "kernel8.img", "-initrd", "initramfs", "-dtb", "tree.dtb", "-append", boot.CommandLine + " " + noWatchdog,
		"-drive", "if=sd,format=raw,discard=unmap,file=" + diskFile,
		"-chardev", "socket,id=pi,path=pi.qmp,server=on,wait=off", "-mon", "chardev=pi,mode=control",
		"-serial", "null", // the PL011, which Bluetooth has
	}
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
