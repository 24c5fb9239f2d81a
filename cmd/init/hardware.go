package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/digital-mycelium/os/pkg/api"
)

// isDisk tells disks from what the kernel makes of files and memory.
func isDisk(name string) bool {
	for _, prefix := range []string{"loop", "ram", "zram"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}

// emulated reports whether the processor that cpuinfo (proc_cpuinfo(5)) describes is
// QEMU's Tiny Code Generator. On x86 it says so by name; on arm64 its model "max" has
// the implementer number that no maker has, and the part number "Q". The other arm64
// models that it can be asked for cannot be told from the real ones.
func emulated(cpuinfo string) bool {
	text := readLine(cpuinfo)
	return strings.Contains(text, "QEMU TCG CPU") ||
		strings.Contains(text, "CPU implementer\t: 0x00") && strings.Contains(text, "CPU part\t: 0x051")
}

// readBlockDevices returns the disks in dir (/sys/block) that hold something to
// read, boot being the name of the one that the OS runs from.
func readBlockDevices(dir, boot string) []api.Disk {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []api.Disk{}
	}
	disks := []api.Disk{}
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(dir, name)
		sectors, _ := strconv.ParseUint(readLine(filepath.Join(path, "size")), 10, 54)
		if sectors == 0 || !isDisk(name) {
			continue
		}
		disks = append(disks, api.Disk{
			Name: name, Model: diskModel(path), Size: sectors * 512, // the unit of sysfs, whatever the disk's own
			Removable: readLine(filepath.Join(path, "removable")) == "1",
			ReadOnly:  readLine(filepath.Join(path, "ro")) == "1",
			Boot:      name == boot,
		})
	}
	return disks
}

// diskModel returns what the disk calls itself: SATA, SCSI and NVMe disks have a
// model, SD cards a name, virtual ones of virtio neither.
func diskModel(path string) string {
	for _, file := range []string{"device/model", "device/name"} {
		if s := strings.Join(strings.Fields(readLine(filepath.Join(path, file))), " "); s != "" {
			return s
		}
	}
	return ""
}

// parseLoad reads /proc/loadavg: "0.20 0.18 0.12 1/80 11206".
func parseLoad(s string) api.Load {
	load := api.Load{Processors: runtime.NumCPU()}
	fields := strings.Fields(s)
	for i, value := range []*float64{&load.One, &load.Five, &load.Fifteen} {
		if i < len(fields) {
			*value, _ = strconv.ParseFloat(fields[i], 64)
		}
	}
	return load
}
