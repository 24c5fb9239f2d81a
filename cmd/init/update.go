package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/gate"
	"github.com/digital-mycelium/os/cmd/init/internal/kube"
	"github.com/digital-mycelium/os/cmd/init/internal/membership"
	"github.com/digital-mycelium/os/cmd/init/internal/updates"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/secureboot"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/fatslot"
	"github.com/digital-mycelium/os/pkg/update/uefi"
)

const (
	updateJournal = identityDir + "/update.json"
	updateWork    = "/var/lib/mycelium/update"
	// slotFile is where a slot has its OS file.
	slotFile = "EFI/Linux/os.efi"
	// runningMount shows the file system of the slot that runs.
	runningMount = "/run/os"
)

// slotLabels are the partitions that hold an OS file.
func slotLabels() []string { return []string{"A", "B"} }

// openUpdates takes up what the last boot has left of an update, and reboots if
// that asks for it. It comes before anything that a new system could fail in and
// that is not needed to fail in order.
func (m *machine) openUpdates(context.Context) error {
	m.noteSecureBoot(secureboot.Firmware(uefi.Variables))
	slots, err := m.updateSlots()
	if err != nil {
		// Run from elsewhere (the network, a kernel alone): there is nothing to update.
		m.log.Info("no updates in place", "reason", err)
		return nil
	}
	if m.volumeState("STATE") == "missing" || m.volumeState("STATE") == "corrupt" {
		return errors.Join(m.onlyDefault(slots.Firmware, "STATE cannot be used"), errors.New("without STATE the node cannot be updated"))
	}
	agent, next, err := updates.Boot(updates.Options{
		Slots: slots, State: identityDir, Work: updateWork, Board: boardName(m.cmdline),
		Running: m.runningFile(),
		Config:  func() config.Update { return m.config().Update },
		Network: m.networkID,
		Key:     m.publicKey,
		Now:     time.Now,
		Facts:   m.facts,
		Members: m.updateMembers(),
		Serves: func() bool {
			s, _ := m.board.Get()
			return s.Membership.Role == identity.Server.String()
		},
		Servers: &http.Client{Timeout: 0, Transport: &http.Transport{Proxy: nil, TLSHandshakeTimeout: 20 * time.Second, IdleConnTimeout: time.Minute}},
		Report:  func(u api.Update) { m.board.Update(func(s *api.Status) { s.Update = &u }) },
		Event:   func(text string) { m.console.event(api.ConsoleEvent{Kind: api.EventUpdate, Text: text}) },
		Problem: func(text string) { m.board.SetProblem("update", text) },
		Reboot:  func() { m.request(actionReboot) },
		Log:     m.log.With("part", "update"),
	})
	m.updates = agent
	if errors.Is(err, update.ErrDamaged) {
		err = errors.Join(err, m.onlyDefault(slots.Firmware, "the update journal is damaged"))
	}
	if agent != nil {
		if mountErr := m.showRunningSlot(slots.Firmware); mountErr != nil {
			m.log.Warn("the OS file that runs cannot be read: other nodes do not get it from here", "error", mountErr)
		}
	}
	if next == update.Reboot {
		m.console.event(api.ConsoleEvent{Kind: api.EventUpdate, Text: "rebooting to go on with an update"})
		m.finish(actionReboot)
	}
	return err
}

// onlyDefault ends the run of a system that is not the one that is started by itself:
// without what the last boot has written nobody knows that it is on trial, and nobody
// would judge it.
func (m *machine) onlyDefault(f update.Firmware, because string) error {
	running, err := f.Running()
	if err != nil {
		return err
	}
	standard, err := f.Default()
	if err != nil {
		return err
	}
	if running != standard {
		m.fatal(fmt.Errorf("%s, and slot %s is not the one that is started by itself: going back to slot %s", because, running, standard))
	}
	return nil
}

// updateSlots finds the slots and what starts them.
func (m *machine) updateSlots() (update.Config, error) {
	if m.disk.table == nil {
		return update.Config{}, errors.New("there is no boot disk")
	}
	if m.disk.table.Keeper != nil {
		return m.trybootSlots()
	}
	c := update.Config{
		Journal: update.FileJournal(updateJournal), Slots: map[string]update.Content{},
		Release: update.Release{Version: m.version}, Now: time.Now, Startable: secureboot.Firmware(uefi.Variables).Check,
	}
	var err error
	if c.Firmware, err = m.firmware(); err != nil {
		return c, err
	}
	for _, label := range slotLabels() {
		p, ok := m.slotPartition(label)
		if !ok {
			return c, fmt.Errorf("the disk has no partition %s", label)
		}
		part, err := openSyncedDisk(m.disk.partition(p))
		if err != nil {
			return c, err
		}
		id := p.ID
		c.Slots[label] = &fatslot.Slot{
			Disk: part, Bytes: m.disk.table.Bytes(p), Start: m.disk.table.Offset(p), Label: label,
			ID: uint32(id[0]) | uint32(id[1])<<8 | uint32(id[2])<<16 | uint32(id[3])<<24, File: slotFile,
		}
	}
	return c, nil
}

func (m *machine) slotPartition(label string) (gpt.Partition, bool) {
	for _, p := range m.disk.table.Partitions {
		if p.Name == label && (p.Type == gpt.XBOOTLDR || p.Type == gpt.Slot) {
			return p, true
		}
	}
	return gpt.Partition{}, false
}

// showRunningSlot mounts the running slot's file system, read-only. It is the one
// that nothing writes to.
func (m *machine) showRunningSlot(f update.Firmware) error {
	label, err := f.Running()
	if err != nil {
		return err
	}
	p, ok := m.slotPartition(label)
	if !ok {
		return fmt.Errorf("the disk has no partition %s", label)
	}
	if m.disk.table.Keeper != nil {
		return m.showRunningPieces(p)
	}
	if err := os.MkdirAll(runningMount, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(m.disk.partition(p), runningMount, "vfat", nosuid|nodev|noexec|readonly, ""); err != nil {
		return fmt.Errorf("mount slot %s: %w", label, err)
	}
	return nil
}

// syncedDisk is a disk whose Sync also forgets what is in memory of it, so that
// what is read afterwards comes from the disk.
type syncedDisk struct{ *os.File }

func openSyncedDisk(path string) (syncedDisk, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return syncedDisk{}, fmt.Errorf("open the disk for updates: %w", err)
	}
	return syncedDisk{f}, nil
}

func (d syncedDisk) Sync() error {
	if err := d.File.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(d.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// networkID is the node's network, zero without one.
func (m *machine) networkID() identity.NetworkID {
	s, _ := m.board.Get()
	if s.Membership.State != api.Member {
		return identity.NetworkID{}
	}
	id, err := identity.ParseNetworkID(s.Membership.Network)
	if err != nil {
		return identity.NetworkID{}
	}
	return id
}

// publicKey is the node's, zero when what it is could not be read.
func (m *machine) publicKey() identity.PublicKey {
	if m.member == nil {
		return identity.PublicKey{}
	}
	return m.member.Key()
}

// peerSilence is after how long without a handshake a member counts as not reached:
// WireGuard shakes hands every two minutes while there is traffic.
const peerSilence = 4 * time.Minute

// facts says how the node is, for the judgement of an update.
func (m *machine) facts(ctx context.Context) gate.Facts {
	s, _ := m.board.Get()
	f := gate.Facts{
		BootID: s.BootID, Timed: s.Time.Source != "floor",
		Member: s.Membership.State == api.Member,
		API:    s.Kubernetes.APIUp, Ready: s.Kubernetes.NodeReady,
		Addressed: slices.ContainsFunc(s.Interfaces, func(i api.Interface) bool { return i.Up && len(i.Addresses) > 0 }),
		Peers: slices.ContainsFunc(s.Membership.Peers, func(p api.Peer) bool {
			return !p.LastHandshake.IsZero() && time.Since(p.LastHandshake) < peerSilence
		}),
	}
	for _, p := range s.Phases {
		if p.Error != "" {
			f.FailedPhases = append(f.FailedPhases, p.Name)
		}
	}
	if server := m.config().Update.Server; server != "" {
		f.Server = answers(ctx, server)
	}
	if f.API {
		f.Workloads, f.Ready = m.ownWorkloads.ask(ctx, m.hostname, s)
	}
	return f
}

// answers reports whether an HTTP server says anything.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return false
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	return resp.Body.Close() == nil
}

// workloadSource asks Kubernetes what runs on this node.
type workloadSource struct {
	mu     sync.Mutex
	source *kube.Source
	role   identity.NodeRole
}

// ask returns what runs on this node, nil when Kubernetes does not say, and
// whether the node is Ready in this boot: what is recalled of the last one does not
// count.
func (m *workloadSource) ask(ctx context.Context, node string, s api.Status) (map[string]kube.Workload, bool) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	var role identity.NodeRole
	if err := role.UnmarshalText([]byte(s.Membership.Role)); err != nil {
		return nil, false
	}
	if m.source == nil || m.role != role {
		m.source, m.role = kube.NewSource(statusKubeconfig(role)), role
	}
	client, err := m.source.Client()
	if err != nil {
		return nil, false
	}
	boot, err := client.NodeBoot(ctx, node)
	if err != nil {
		return nil, false
	}
	found, err := client.Workloads(ctx, node)
	if err != nil {
		return nil, false
	}
	return found, s.Kubernetes.NodeReady && boot == s.BootID
}

// updateMembers returns a function that lists the members which may have an OS file.
// Their clients are kept from one call to the next.
func (m *machine) updateMembers() func() []updates.Member {
	var mu sync.Mutex
	clients := map[membership.Other]*api.Client{}
	return func() []updates.Member {
		if m.member == nil {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		var list []updates.Member
		for _, other := range m.member.Others() {
			who := membership.Other{Key: other.Key, Address: other.Address}
			client := clients[who]
			if client == nil {
				var err error
				if client, err = m.member.Client(other); err != nil {
					m.log.Warn("a member cannot be asked for OS files", "member", other.Name, "error", err)
					continue
				}
				clients[who] = client
			}
			h, url := client.OSFiles()
			list = append(list, updates.Member{
				Name: other.Name, Key: other.Key, Version: other.OS, URL: url, Client: h, Server: other.Role == identity.Server,
				Serving: other.Serving, Reached: time.Since(other.Handshake) < peerSilence, Silence: min(time.Since(other.Handshake), uptime()),
			})
		}
		return list
	}
}
