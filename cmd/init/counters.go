package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// netCounters are what a network interface has sent and received since it exists.
type netCounters struct {
	name string
	up   bool
	// receive and transmit are in the order of netCounterKinds.
	receive, transmit [4]uint64
}

// netCounterKinds are the counters as /sys/class/net/*/statistics names them,
// behind "rx_" and "tx_".
func netCounterKinds() [4]string { return [4]string{"bytes", "packets", "errors", "dropped"} }

// readNetCounters reads those of the physical interfaces in dir
// (/sys/class/net): bridges and pods' ends of cables have no device.
func readNetCounters(dir string) []netCounters {
	var list []netCounters
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(path, "device")); err != nil {
			continue
		}
		n := netCounters{name: e.Name(), up: readLine(filepath.Join(path, "operstate")) == "up"}
		for i, kind := range netCounterKinds() {
			n.receive[i], _ = strconv.ParseUint(readLine(filepath.Join(path, "statistics", "rx_"+kind)), 10, 64)
			n.transmit[i], _ = strconv.ParseUint(readLine(filepath.Join(path, "statistics", "tx_"+kind)), 10, 64)
		}
		list = append(list, n)
	}
	return list
}

// diskCounters are what a disk has done since the boot.
type diskCounters struct {
	name                    string
	reads, writes           uint64
	bytesRead, bytesWritten uint64
	// busy is in seconds.
	busy float64
}

// readDiskCounters reads those of the disks in dir (/sys/block), from their stat
// (Linux, Documentation/block/stat.rst).
func readDiskCounters(dir string, names []string) []diskCounters {
	var list []diskCounters
	for _, name := range names {
		if d, ok := parseDiskStat(readLine(filepath.Join(dir, name, "stat"))); ok {
			d.name = name
			list = append(list, d)
		}
	}
	return list
}

// parseDiskStat reads /sys/block/*/stat: requests, merged ones, sectors of 512
// bytes and milliseconds for reading, the same for writing, requests under way,
// milliseconds in which there were any, and more.
func parseDiskStat(s string) (diskCounters, bool) {
	var n [11]uint64
	fields := strings.Fields(s)
	if len(fields) < len(n) {
		return diskCounters{}, false
	}
	for i := range n {
		var err error
		if n[i], err = strconv.ParseUint(fields[i], 10, 64); err != nil {
			return diskCounters{}, false
		}
	}
	return diskCounters{reads: n[0], bytesRead: n[2] * 512, writes: n[4], bytesWritten: n[6] * 512, busy: float64(n[9]) / 1000}, true
}
