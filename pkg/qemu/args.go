package qemu

import (
	"fmt"
	"strconv"
	"strings"
)

// Names of the files in a node's directory, which is QEMU's working directory.
const (
	diskFile    = "disk.img"
	espDir      = "esp"
	varsFile    = "vars.fd"
	configFile  = "config.yaml"
	serialFile  = "serial.log"
	serialSock  = "serial.sock"
	qmpSock     = "qmp.sock"
	outputFile  = "qemu.log"
	processFile = "process.json"
	specFile    = "node.json"
	kubeFile    = "kubeconfig"

	writeLogFile = "writes.log"
)

// layout says which of a node's optional files exist.
type layout struct {
	// esp: the machine starts the OS file in espDir, not the disk's.
	esp bool
	// config: there is a configuration to hand over.
	config bool
}

// arguments is QEMU's command line for a spec that is resolved: every default
// filled in, every host port chosen.
func arguments(s NodeSpec, l layout) []string {
	a, err := archOf(s.Arch)
	if err != nil {
		panic(err) // validate has seen it
	}
	args := []string{
		"-name", s.Name,
		"-no-user-config", "-nodefaults",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny",
	}
	switch args = append(args, a.machine...); {
	case s.Firmware == UBoot:
		args = append(args, "-machine", "acpi=off") // which U-Boot has not; it moves the power button into the device tree
	case a.machine != nil:
	case s.Firmware == UEFISecure:
		args = append(args, "-machine", string(s.Chipset)+",smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on")
	default:
		args = append(args, "-machine", string(s.Chipset))
	}
	args = append(args, s.Acceleration.arguments(a.cpu)...)
	args = append(
		args,
		"-smp", strconv.Itoa(s.CPUs),
		"-m", strconv.Itoa(s.MemoryMiB),
		"-rtc", rtcArgument(s),
		"-display", "none",
	)
	args = append(args, a.screen...)
	args = append(
		args,
		"-chardev", "socket,id=qmp,path="+qmpSock+",server=on,wait=off",
		"-mon", "chardev=qmp,mode=control",
		"-chardev", "socket,id=serial,path="+serialSock+",server=on,wait=off,logfile="+serialFile+",logappend=on",
		"-serial", "chardev:serial",
		"-object", "rng-random,id=rng,filename=/dev/urandom",
		"-device", "virtio-rng-pci,rng=rng",
		"-device", "i6300esb",
		"-action", "watchdog=reset",
	)
	args = append(args, diskArguments(s, l)...)
	args = append(args, networkArguments(s)...)
	if l.config {
		args = append(args, "-fw_cfg", "name="+ConfigItem+",file="+configFile)
	}
	return append(args, s.ExtraArgs...)
}

func rtcArgument(s NodeSpec) string {
	base := "utc"
	if !s.RTC.IsZero() {
		base = s.RTC.UTC().Format("2006-01-02T15:04:05")
	}
	return "base=" + base + ",clock=host"
}

func diskArguments(s NodeSpec, l layout) []string {
	var args []string
	if s.Firmware.flash() {
		args = append(args,
			"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+escape(s.Host.FirmwareCode),
			"-drive", "if=pflash,unit=1,format=raw,file="+varsFile)
	}
	if s.Firmware == UBoot {
		args = append(args, "-bios", s.Host.FirmwareCode)
	}
	bootIndex := 1 // 0 is what QEMU itself uses for -kernel
	if l.esp {
		args = append(args,
			"-drive", "if=none,id=esp,format=raw,readonly=on,file=fat:"+espDir,
			"-device", "virtio-blk-pci,drive=esp,bootindex=1")
		bootIndex = 2
	}
	file := "format=raw,file=" + diskFile
	switch {
	case s.RecordWrites:
		file = "driver=blklogwrites,file.driver=file,file.filename=" + diskFile + ",log.driver=file,log.filename=" + writeLogFile
	case s.DiskFaults != "":
		file = "format=raw,file=blkdebug:" + escape(s.DiskFaults) + ":" + diskFile
	}
	args = append(args, "-drive", fmt.Sprintf("if=none,id=disk,%s,cache=%s,discard=unmap,detect-zeroes=unmap", file, s.DiskCache))
	return append(args, diskDevice(s, bootIndex)...)
}

func networkArguments(s NodeSpec) []string {
	user := "user,id=" + WAN + ",ipv6=off"
	for _, f := range s.Forwards {
		user += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", f.Host, f.Guest)
	}
	args := []string{"-netdev", user, "-device", string(s.NIC) + ",netdev=" + WAN + ",romfile=,mac=" + s.WANMAC}
	if s.Segment.Group == "" {
		return args
	}
	return append(args,
		"-netdev", fmt.Sprintf("socket,id=%s,mcast=%s:%d,localaddr=127.0.0.1", LAN, s.Segment.Group, s.Segment.Port),
		"-device", string(s.NIC)+",netdev="+LAN+",romfile=,mac="+s.LANMAC)
}

// escape doubles commas, which separate options.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }
