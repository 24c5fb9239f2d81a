package main

import (
	"strconv"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/clock"
	"github.com/digital-mycelium/os/cmd/init/internal/openmetrics"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/supervise"
)

// measurements are what the metrics show.
type measurements struct {
	status  api.Status
	time    api.TimeStatus
	uptime  time.Duration
	network []netCounters
	disks   []diskCounters
}

// metrics measures the node and returns OpenMetrics 1.0 text. docs/API.md lists
// the names.
func (m *machine) metrics() string {
	s, _ := m.board.Get()
	names := make([]string, len(s.Disks))
	for i, d := range s.Disks {
		names[i] = d.Name
	}
	return measurements{
		status: s, time: m.timeStatus(), uptime: uptime(),
		network: readNetCounters("/sys/class/net"), disks: readDiskCounters("/sys/block", names),
	}.text()
}

func (x measurements) text() string {
	var t openmetrics.Text
	x.writeNode(&t)
	x.writeVolumes(&t)
	x.writeDisks(&t)
	x.writeNetwork(&t)
	x.writeServices(&t)
	x.writeTime(&t)
	return t.String()
}

func (x measurements) writeNode(t *openmetrics.Text) {
	s := x.status
	t.Family("mycelium_build", openmetrics.Info, "", "The OS that runs.")
	t.Flag(true, "version", s.Version, "board", s.Board, "arch", s.Arch, "kernel", s.Kernel)
	t.Family("mycelium_boot_time_seconds", openmetrics.Gauge, "seconds", "When the kernel started, since 1970.")
	t.Sample(float64(s.Booted.UnixMilli()) / 1000)
	t.Family("mycelium_uptime_seconds", openmetrics.Gauge, "seconds", "Time since the kernel started.")
	t.Sample(x.uptime.Seconds())
	t.Family("mycelium_boot_phase_duration_seconds", openmetrics.Gauge, "seconds", "How long a boot phase took.")
	for _, p := range s.Phases {
		t.Sample(p.Seconds, "phase", p.Name)
	}
	t.Family("mycelium_boot_phase_failed", openmetrics.Gauge, "", "Whether a boot phase failed.")
	for _, p := range s.Phases {
		t.Flag(p.Error != "", "phase", p.Name)
	}
	t.Family("mycelium_memory_size_bytes", openmetrics.Gauge, "bytes", "The memory that the kernel manages.")
	t.Count(s.Memory.Total)
	t.Family("mycelium_memory_available_bytes", openmetrics.Gauge, "bytes", "Memory that programs could still get.")
	t.Count(s.Memory.Available)
	for _, l := range []struct {
		minutes int
		value   float64
	}{{1, s.Load.One}, {5, s.Load.Five}, {15, s.Load.Fifteen}} {
		n := strconv.Itoa(l.minutes)
		t.Family("mycelium_load"+n, openmetrics.Gauge, "", "Load average over "+n+" min.")
		t.Sample(l.value)
	}
	t.Family("mycelium_processors", openmetrics.Gauge, "", "Number of processors.")
	t.Count(uint64(s.Load.Processors))
	t.Family("mycelium_problems", openmetrics.Gauge, "", "Conditions that the owner should know of; the status has their text.")
	t.Count(uint64(len(s.Problems)))
}

func (x measurements) writeVolumes(t *openmetrics.Text) {
	for _, f := range []struct {
		name, help string
		value      func(api.Volume) uint64
	}{
		{"size", "Size of the file system.", func(v api.Volume) uint64 { return v.Size }},
		{"free", "What is free in the file system.", func(v api.Volume) uint64 { return v.Free }},
		{"reserved", "What the node holds back to recover when the volume is full.", func(v api.Volume) uint64 { return v.Reserved }},
	} {
		t.Family("mycelium_volume_"+f.name+"_bytes", openmetrics.Gauge, "bytes", f.help)
		for _, v := range x.status.Volumes {
			t.Count(f.value(v), "volume", v.Label)
		}
	}
	t.Family("mycelium_volume_state", openmetrics.Gauge, "", "What became of a volume at the boot: 1 for its state.")
	for _, v := range x.status.Volumes {
		t.State(v.State, []string{"mounted", "created", "repaired", "corrupt", "missing"}, "volume", v.Label)
	}
}

func (x measurements) writeDisks(t *openmetrics.Text) {
	t.Family("mycelium_disk_size_bytes", openmetrics.Gauge, "bytes", "Size of a disk.")
	for _, d := range x.status.Disks {
		t.Count(d.Size, "disk", d.Name)
	}
	for _, f := range []struct {
		name, unit, help string
		value            func(diskCounters) uint64
	}{
		{"read_bytes", "bytes", "Bytes read from a disk.", func(d diskCounters) uint64 { return d.bytesRead }},
		{"written_bytes", "bytes", "Bytes written to a disk.", func(d diskCounters) uint64 { return d.bytesWritten }},
		{"reads_completed", "", "Read requests that a disk has completed.", func(d diskCounters) uint64 { return d.reads }},
		{"writes_completed", "", "Write requests that a disk has completed.", func(d diskCounters) uint64 { return d.writes }},
	} {
		t.Family("mycelium_disk_"+f.name, openmetrics.Counter, f.unit, f.help)
		for _, d := range x.disks {
			t.Count(f.value(d), "disk", d.name)
		}
	}
	t.Family("mycelium_disk_busy_seconds", openmetrics.Counter, "seconds", "Time in which a disk had requests to do.")
	for _, d := range x.disks {
		t.Sample(d.busy, "disk", d.name)
	}
}

func (x measurements) writeNetwork(t *openmetrics.Text) {
	t.Family("mycelium_network_up", openmetrics.Gauge, "", "Whether a physical network interface is up.")
	for _, n := range x.network {
		t.Flag(n.up, "interface", n.name)
	}
	for _, direction := range []struct {
		name  string
		value func(netCounters) [4]uint64
	}{
		{"receive", func(n netCounters) [4]uint64 { return n.receive }},
		{"transmit", func(n netCounters) [4]uint64 { return n.transmit }},
	} {
		for i, kind := range netCounterKinds() {
			unit := ""
			if kind == "bytes" {
				unit = kind
			}
			t.Family("mycelium_network_"+direction.name+"_"+kind, openmetrics.Counter, unit, "Count of "+kind+" ("+direction.name+") of a physical network interface.")
			for _, n := range x.network {
				t.Count(direction.value(n)[i], "interface", n.name)
			}
		}
	}
}

func (x measurements) writeServices(t *openmetrics.Text) {
	s := x.status
	t.Family("mycelium_service_state", openmetrics.Gauge, "", "What a service does: 1 for its state.")
	for _, v := range s.Services {
		t.State(v.State, []string{supervise.Waiting, supervise.Running, supervise.Backoff, supervise.Stopped}, "service", v.Name)
	}
	t.Family("mycelium_service_restarts", openmetrics.Counter, "", "How often a service was started again.")
	for _, v := range s.Services {
		t.Count(uint64(max(v.Restarts, 0)), "service", v.Name)
	}
	k := s.Kubernetes
	t.Family("mycelium_kubernetes_api_up", openmetrics.Gauge, "", "Whether the Kubernetes API answers.")
	t.Flag(k.APIUp)
	t.Family("mycelium_kubernetes_node_ready", openmetrics.Gauge, "", "Whether the node is Ready.")
	t.Flag(k.NodeReady)
	t.Family("mycelium_kubernetes_pods", openmetrics.Gauge, "", "Pods on the node.")
	t.Count(uint64(max(k.PodsTotal, 0)))
	t.Family("mycelium_kubernetes_pods_running", openmetrics.Gauge, "", "Pods on the node that are running.")
	t.Count(uint64(max(k.PodsRunning, 0)))
}

func (x measurements) writeTime(t *openmetrics.Text) {
	t.Family("mycelium_time_source", openmetrics.Gauge, "", "What the clock rests on: 1 for its source.")
	for _, source := range []string{clock.NTP, clock.RTC, clock.Floor} {
		t.Flag(source == x.time.Source, "source", source)
	}
	t.Family("mycelium_time_offset_seconds", openmetrics.Gauge, "seconds", "What the clock was behind when a time server last answered.")
	if !x.time.Synced.IsZero() {
		t.Sample(x.time.Offset)
	}
	t.Family("mycelium_time_synced_timestamp_seconds", openmetrics.Gauge, "seconds", "When a time server last answered, since 1970.")
	if !x.time.Synced.IsZero() {
		t.Sample(float64(x.time.Synced.UnixMilli()) / 1000)
	}
	t.Family("mycelium_certificate_expiry_timestamp_seconds", openmetrics.Gauge, "seconds", "When the node's certificate ends, since 1970.")
	if e := x.status.Membership.Expires; !e.IsZero() {
		t.Sample(float64(e.Unix()))
	}
}
