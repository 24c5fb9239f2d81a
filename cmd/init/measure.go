package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
)

// Times between two measurements: of what changes all the time, and of the
// disks, which come and go seldom and cost a dozen files of sysfs each.
const (
	measurePause = 3 * time.Second
	disksPause   = 30 * time.Second
)

// measure refreshes what changes all the time: memory, load, space, disks, the clock.
func (m *machine) measure() {
	mem, load := readMeminfo(), parseLoad(readLine("/proc/loadavg"))
	if time.Since(m.disksRead) >= disksPause {
		m.disks, m.disksRead = readBlockDevices("/sys/block", m.sourceDisk().Name), time.Now()
	}
	now := time.Now()
	sizes := make([][2]uint64, len(m.volumes))
	for i, v := range m.volumes {
		sizes[i][0], sizes[i][1] = freeBytes(v.target)
	}
	m.board.Refresh(func(s *api.Status) {
		s.Memory, s.Load, s.Disks, s.Time.Now = mem, load, m.disks, now
		s.Booted = now.Add(-uptime())
		volumes := append([]api.Volume(nil), s.Volumes...)
		for i := range volumes {
			if i < len(sizes) && volumes[i].State != "corrupt" {
				volumes[i].Size, volumes[i].Free = sizes[i][0], sizes[i][1]
			}
			if volumes[i].Label == "DATA" && m.reserve != nil {
				volumes[i].Reserved = m.reserve.part * uint64(len(m.reserve.held()))
			}
		}
		s.Volumes = volumes
	})
	if m.reserve != nil {
		m.reserve.check()
	}
	for _, v := range m.volumes {
		m.checkWritable(v)
	}
}

// checkWritable says when the kernel has turned a volume read-only because it
// found its file system damaged.
func (m *machine) checkWritable(v mountedVolume) {
	text := ""
	if isReadOnly(v.target) {
		text = v.Label + " has become read-only because of errors on the disk: reboot to have it checked; replace the disk if this returns"
	}
	m.board.SetProblem("readonly/"+v.Label, text)
}

// readMeminfo reads /proc/meminfo; the values there are in KiB.
func readMeminfo() api.Memory {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return api.Memory{}
	}
	defer f.Close()
	var mem api.Memory
	for s := bufio.NewScanner(f); s.Scan(); {
		key, rest, _ := strings.Cut(s.Text(), ":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		n, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			continue
		}
		switch key {
		case "MemTotal":
			mem.Total = n << 10
		case "MemAvailable":
			mem.Available = n << 10
		}
	}
	return mem
}
