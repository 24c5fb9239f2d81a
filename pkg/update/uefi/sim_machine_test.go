package uefi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/fatslot"
)

// stepKind is what a step changes. The power can go before each step.
type stepKind string

const (
	writeStep    stepKind = "write of a slot's sector"
	tableStep    stepKind = "write of a partition table's sector"
	syncStep     stepKind = "sync"
	variableStep stepKind = "variable"
	journalStep  stepKind = "journal"
)

// What a release does when it is started.
type nature string

const (
	works     nature = "works"
	unhealthy nature = "is not healthy"
	hangs     nature = "hangs before its init"
	panics    nature = "panics after its init has begun"
	putsOff   nature = "works, and is rebooted on purpose before that is known"
)

// osFile is a release with its content.
type osFile struct {
	update.Release
	nature  nature
	content []byte
}

func newOSFile(version string, n nature, size int) *osFile {
	seed := sha256.Sum256([]byte(version))
	content := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(content)
	sum := sha256.Sum256(content)
	return &osFile{update.Release{Version: version, Digest: hex.EncodeToString(sum[:]), Size: int64(size)}, n, content}
}

// What the owner wants.
type goal struct {
	do   string // update, or stage (and then not mind any more), or rollback
	file *osFile
}

// scenario is what the owner wants of a machine that runs first.
type scenario struct {
	name  string
	first *osFile
	goals []goal
	// outages are steps, counted from the first, at which the power goes anyway.
	outages []int
	// slotBytes is the size of a slot.
	slotBytes int64
	// every says at which of the sectors that are written behind one another the power
	// is cut: every one, or every so many.
	every int
}

const osPath = "EFI/Linux/os.efi"

// simMachine is a whole one: its disk, its EFI variables, its journal, and its owner,
// who remembers how far they have come.
type simMachine struct {
	t    testing.TB
	sc   *scenario
	disk *simDisk
	// dir is the directory of the variables, in root.
	dir, root string
	journal   []byte
	random    *rand.Rand

	goal  int
	boots int
	// blameless is how often a trial of a version ended by what is not its fault.
	blameless map[string]int
	// steps done; onStep is called before each one and ends the boot by a panic with
	// a powerCut.
	steps  int
	onStep func(kind stepKind)
	// full is for how many boots the firmware has no room for variables; the owner
	// gives up when it is forEver.
	full   int
	gaveUp bool
	// lost and unasked are what the firmware does at the next boot: forget all
	// variables; start the entry for trials as if somebody had chosen it.
	lost, unasked bool
	story         []string
}

const forEver = 1000

// powerCut is what a machine panics with.
type powerCut struct {
	// survives says what is left of the disk's cache.
	survives func(int) bool
}

func newSimMachine(t testing.TB, sc *scenario, seed uint64, root string) *simMachine {
	t.Helper()
	m := &simMachine{
		t: t, sc: sc, disk: newSimDisk(4*mib + 2*sc.slotBytes), blameless: map[string]int{}, root: root,
		random: rand.New(rand.NewPCG(seed, 0)), onStep: func(stepKind) {},
	}
	table, err := gpt.New(gpt.DeriveGUID("disk"), sector, m.disk.size)
	m.noErr(err)
	for _, p := range []gpt.Partition{{Type: gpt.ESP, Name: "EFI"}, {Type: gpt.XBOOTLDR, Name: "A"}, {Type: gpt.Slot, Name: "B"}, {Type: gpt.State, Name: "STATE"}} {
		size := sc.slotBytes
		if p.Type == gpt.ESP || p.Type == gpt.State {
			size = mib
		}
		p.ID = gpt.DeriveGUID("partition", p.Name)
		_, err := table.AddPartition(p, size)
		m.noErr(err)
	}
	m.noErr(table.Write(m.disk))
	m.noErr(m.slots()["A"].Write(bytes.NewReader(sc.first.content), sc.first.Size))
	m.disk.step = m.step
	m.newDir()
	return m
}

func (m *simMachine) newDir() {
	dir, err := os.MkdirTemp(m.root, "")
	m.noErr(err)
	m.dir = dir
}

// discard ends a fork.
func (m *simMachine) discard() { m.noErr(os.RemoveAll(m.dir)) }

func (m *simMachine) noErr(err error) {
	m.t.Helper()
	if err != nil {
		m.fatalf("%v", err)
	}
}

func (m *simMachine) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s: %s\nstory:\n  %s\njournal: %s", m.sc.name, fmt.Sprintf(format, args...), strings.Join(m.story, "\n  "), m.journal)
}

func (m *simMachine) tell(format string, args ...any) {
	m.story = append(m.story, fmt.Sprintf("step %d: ", m.steps)+fmt.Sprintf(format, args...))
}

func (m *simMachine) step(kind stepKind) {
	m.steps++
	if slices.Contains(m.sc.outages, m.steps) {
		panic(powerCut{some(m.random)})
	}
	m.onStep(kind)
}

// fork returns the machine as a power cut now would leave it.
func (m *simMachine) fork(survives func(int) bool) *simMachine {
	n := *m
	n.disk = m.disk.leftBy(survives)
	n.disk.step = n.step
	n.blameless, n.story, n.onStep = maps.Clone(m.blameless), slices.Clone(m.story), func(stepKind) {}
	n.random = rand.New(rand.NewPCG(m.random.Uint64(), 0))
	n.newDir()
	for name, b := range m.variables() {
		n.noErr(os.WriteFile(filepath.Join(n.dir, name), b, 0o600))
	}
	n.powerWent()
	return &n
}

// variables are the files of the EFI variables.
func (m *simMachine) variables() map[string][]byte {
	all := map[string][]byte{}
	files, err := os.ReadDir(m.dir)
	m.noErr(err)
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(m.dir, f.Name()))
		m.noErr(err)
		all[f.Name()] = b
	}
	return all
}

// powerWent notes a power cut.
func (m *simMachine) powerWent() {
	m.tell("the power goes")
	if s := m.state(); s.OnTrial() != "" {
		m.blameless[s.Slot(s.OnTrial()).Release.Version]++
	}
	if m.goal < len(m.sc.goals) && m.sc.goals[m.goal].do == "stage" {
		m.goal++
	}
}

// forget empties the directory of the variables.
func (m *simMachine) forget() {
	m.tell("the variables are lost")
	if s := m.state(); s.OnTrial() != "" {
		m.blameless[s.Slot(s.OnTrial()).Release.Version]++
	}
	for name := range m.variables() {
		m.noErr(os.Remove(filepath.Join(m.dir, name)))
	}
}

// simJournal is an update.Journal with what a FileJournal promises: a power cut
// leaves the state before or this one.
type simJournal struct{ m *simMachine }

func (m *simMachine) state() (s update.State) {
	if m.journal != nil {
		m.noErr(json.Unmarshal(m.journal, &s))
	}
	return s
}

func (j simJournal) Load() (update.State, error) { return j.m.state(), nil }
func (j simJournal) Save(s update.State) error {
	b, err := json.Marshal(s)
	j.m.noErr(err)
	j.m.step(journalStep)
	j.m.journal = b
	j.m.step(journalStep)
	return nil
}

// simFirmware adds the step after the last variable that was written.
type simFirmware struct {
	*Firmware
	m *simMachine
}

func (f simFirmware) TryOnce(slot string) error {
	err := f.Firmware.TryOnce(slot)
	f.m.step(variableStep)
	return err
}

func (f simFirmware) Untry() error {
	err := f.Firmware.Untry()
	f.m.step(variableStep)
	return err
}

func (m *simMachine) firmware() update.Firmware {
	return simFirmware{&Firmware{
		Variables: m.dir, Disk: m.disk, DiskBytes: m.disk.size, Slots: []string{"A", "B"}, File: `\` + strings.ReplaceAll(osPath, "/", `\`),
		before: func(file string) error {
			m.step(variableStep)
			if b, err := os.ReadFile(file); m.full > 0 && (err != nil || len(b) == 0) {
				m.noErr(os.WriteFile(file, nil, 0o600)) // the file that efivarfs makes before it asks the firmware
				return fmt.Errorf("write %s: %w", file, syscall.ENOSPC)
			}
			return nil
		},
	}, m}
}

func (m *simMachine) slots() map[string]update.Content {
	slots := map[string]update.Content{}
	for i, label := range []string{"A", "B"} {
		offset := 2*mib + int64(i)*m.sc.slotBytes
		slots[label] = &fatslot.Slot{Disk: m.disk, Offset: offset, Bytes: m.sc.slotBytes, Start: offset, Label: label, ID: uint32(i), File: osPath}
	}
	return slots
}

var entryName = regexp.MustCompile(`^Boot[0-9A-F]{4}-` + global)

// turnOn does what a firmware and systemd-boot do, and returns what they start.
func (m *simMachine) turnOn() *osFile {
	if m.boots++; m.boots > 30 {
		m.fatalf("the machine boots again and again")
	}
	m.disk.lose(nothing) // what counts was synced before a reboot
	if m.lost {
		m.lost = false
		m.forget()
	}
	list, err := partitions(m.disk)
	if err != nil {
		m.fatalf("no firmware starts this disk: %v", err)
	}
	files := m.variables()
	for name, b := range files {
		if strings.HasSuffix(name, loader) || len(b) == 0 { // of the last boot
			m.noErr(os.Remove(filepath.Join(m.dir, name)))
		}
	}
	var entries []string
	if next := files["BootNext-"+global]; len(next) == 6 {
		m.step(variableStep)
		if err := os.Remove(filepath.Join(m.dir, "BootNext-"+global)); !errors.Is(err, fs.ErrNotExist) {
			m.noErr(err)
		}
		m.step(variableStep)
		entries = append(entries, fmt.Sprintf("Boot%02X%02X-%s", next[5], next[4], global))
	} else if m.unasked {
		m.unasked = false
		for name := range files {
			if entryName.MatchString(name) {
				entries = append(entries, name)
			}
		}
	}
	for _, name := range entries {
		if b := files[name]; len(b) > 4 {
			if p, path, err := bootOption(b[4:], list); err != nil {
				m.tell("%s: %v", name, err)
			} else if f := m.load(p, path); f != nil {
				return f
			}
		}
	}
	list = slices.DeleteFunc(list, func(p simPartition) bool { return p.kind != xbootldr })
	if len(list) != 1 {
		m.fatalf("%d partitions for the boot loader", len(list))
	}
	f := m.load(list[0], osPath)
	if f == nil {
		m.fatalf("the slot that is started by itself holds no file")
	}
	return f
}

// load reads what a firmware starts: nil when there is nothing that it could. It must
// be a release, bit for bit.
func (m *simMachine) load(p simPartition, path string) *osFile {
	f := m.held(p, path)
	if f != nil {
		m.noErr(os.WriteFile(filepath.Join(m.dir, "StubDevicePartUUID-"+loader), append([]byte{6, 0, 0, 0}, utf16z(guidText(p.id))...), 0o600))
		m.tell("partition %d starts: %s, which %s", p.number, f, f.nature)
	}
	return f
}

func (m *simMachine) held(p simPartition, path string) *osFile {
	fat, err := openFAT(io.NewSectionReader(m.disk, p.begin*sector, p.sectors*sector))
	if err != nil {
		return nil
	}
	b, err := fat.file(path)
	if err != nil {
		return nil
	}
	known := []*osFile{m.sc.first}
	for _, g := range m.sc.goals {
		known = append(known, g.file)
	}
	for _, f := range known { // bytes, and not their sum: it takes a tenth of the time
		if bytes.Equal(f.content, b) {
			return f
		}
	}
	m.fatalf("partition %d would start %d bytes that are no release", p.number, len(b))
	return nil
}

func guidText(b string) string {
	return fmt.Sprintf("%X-%X-%X-%X-%X", []byte{b[3], b[2], b[1], b[0]}, []byte{b[5], b[4]}, []byte{b[7], b[6]}, b[8:10], b[10:16])
}

// run boots until the owner has what they want.
func (m *simMachine) run() {
	for !m.boot() {
		m.full = max(m.full-1, 0)
	}
	m.check()
}

// boot is one boot, until it is reset. It is done when the owner is.
func (m *simMachine) boot() (done bool) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case powerCut:
			m.powerWent()
			m.disk.lose(p.survives)
			done = false
		default:
			panic(p)
		}
	}()
	f := m.turnOn()
	if f.nature == hangs {
		return false // the watchdog
	}
	u, next, err := update.Boot(update.Config{Firmware: m.firmware(), Journal: simJournal{m}, Slots: m.slots(), Release: f.Release})
	m.noErr(err)
	if next == update.Reboot || next == update.Judge && !m.judge(u, f) {
		return false
	}
	return m.act(u)
}

// judge does what a release on trial does; it goes on when it has passed.
func (m *simMachine) judge(u *update.Updater, f *osFile) bool {
	switch f.nature {
	case putsOff:
		if !slices.ContainsFunc(u.State().Verdicts, func(v update.Verdict) bool { return v.Phase == update.Staged }) {
			m.noErr(u.Leave("the owner has rebooted it"))
			return false
		}
		fallthrough
	case works:
		m.noErr(u.Pass())
		return true
	case unhealthy:
		m.noErr(u.Fail("its workloads are not Ready"))
	}
	return false
}

// act does the next of what the owner wants; done when nothing is left.
func (m *simMachine) act(u *update.Updater) (done bool) {
	m.checkLast(u.State())
	for ; m.goal < len(m.sc.goals); m.goal++ {
		g, s := m.sc.goals[m.goal], u.State()
		running := s.Slot(s.Running)
		switch {
		case g.do == "rollback" && running.Release == g.file.Release:
			m.noErr(u.Rollback("the owner wants the old one"))
			return false
		case g.do == "rollback" || m.settled(s, g.file):
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(s.Slots)), func(slot update.Slot) bool {
			return slot.Phase == update.Staged && slot.Release == g.file.Release
		}) {
			err := u.Install(context.Background(), g.file.Release, bytes.NewReader(g.file.content), false, false)
			if errors.Is(err, update.ErrInUse) { // somebody has started the other slot by hand
				return false
			}
			m.noErr(err)
		}
		if g.do == "stage" {
			continue
		}
		if err := u.Try(context.Background()); m.full == 0 || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, update.ErrInUse) {
			m.noErr(err)
		} else if err != nil && m.full > forEver/2 {
			m.gaveUp = true
			return true
		}
		return false
	}
	s := u.State()
	return s.Running == s.Default
}

// settled reports whether there is a verdict on a release.
func (m *simMachine) settled(s update.State, f *osFile) bool {
	running := s.Slot(s.Running)
	return running.Release == f.Release && running.Phase == update.Good && s.Running == s.Default ||
		slices.ContainsFunc(s.Refused, func(r update.Refusal) bool { return r.Release == f.Release })
}
