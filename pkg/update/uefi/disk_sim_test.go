package uefi

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// scenarios with slots of some bytes.
func scenarios(slotBytes int64) []*scenario {
	const kib = 1 << 10
	one := newOSFile("1.0.0", works, 150*kib+17)
	two := func(n nature) *osFile { return newOSFile("1.1.0", n, 120*kib+300) }
	good, next := two(works), newOSFile("1.2.0", works, 170*kib)
	list := []*scenario{
		{name: "passes", goals: []goal{{"update", good}}},
		{name: "fails", goals: []goal{{"update", two(unhealthy)}}},
		{name: "hangs", goals: []goal{{"update", two(hangs)}}},
		{name: "panics", goals: []goal{{"update", two(panics)}}},
		{name: "put off", goals: []goal{{"update", two(putsOff)}}},
		{name: "rolled back", goals: []goal{{"update", good}, {"rollback", good}}},
		{name: "over the remains", goals: []goal{{"stage", good}, {"update", next}}},
		{name: "fails, and the next one passes", goals: []goal{{"update", two(unhealthy)}, {"update", next}}},
		{name: "one after the other", goals: []goal{{"update", good}, {"update", next}}},
		{name: "the power goes three times while it is written", goals: []goal{{"update", good}}, outages: []int{30, 130, 350}},
	}
	for _, sc := range list {
		sc.first, sc.slotBytes, sc.every = one, slotBytes, 16
		if sc.name == "passes" {
			sc.every = 1
		}
	}
	return list
}

// The smallest slots that pkg/fat makes a file system in: of FAT16, and of FAT32, as
// those of real machines are.
const (
	smallest      = 3 * mib
	smallestFAT32 = 36 * mib
)

// forks boots, at each step of m, what a power cut there would leave: by everything
// that was written so far, which over all steps is every prefix of what is written in
// its order; and, but for sectors that are written behind one another, by nothing of
// what was not synced, by any part, and with a firmware that has lost its variables or
// starts what nobody asked for. Each runs them and counts them.
func (m *simMachine) forks(wanted func(stepKind) bool, each func(*simMachine) int) (count int) {
	last, bulk := stepKind(""), 0
	m.onStep = func(kind stepKind) {
		if bulk++; kind != writeStep || last != writeStep {
			bulk = 0
		}
		if last = kind; !wanted(kind) || bulk%m.sc.every != 0 {
			return
		}
		list := []*simMachine{m.fork(everything)}
		if n := len(m.disk.cache); n > 0 && bulk == 0 {
			list = append(list, m.fork(nothing), m.fork(some(m.random)), m.fork(some(m.random)), m.fork(first(m.random.IntN(n+1))))
		}
		if bulk == 0 {
			lost := m.fork(some(m.random))
			lost.lost = true
			list = append(list, lost)
		}
		survivors := []func(int) bool{some(m.random)}
		if kind == syncStep { // all, the boot sector among them, but one sector of the file
			n := len(m.disk.cache)
			survivors = append(survivors, allBut(m.random.IntN(n+1)), allBut(m.random.IntN(n+1)), allBut(m.random.IntN(n+1)))
		}
		for _, survives := range survivors {
			if bulk%16 == 0 {
				unasked := m.fork(survives)
				unasked.unasked = true
				list = append(list, unasked)
			}
		}
		for _, f := range list {
			count += each(f)
			f.discard()
		}
	}
	m.run()
	return count
}

// compareWithMtools has the field's own reader agree with this test's about the slot that runs.
func (m *simMachine) compareWithMtools() {
	m.t.Helper()
	list, err := partitions(m.disk)
	m.noErr(err)
	for _, p := range list {
		if p.kind != xbootldr {
			continue
		}
		image := make([]byte, p.sectors*sector)
		_, err := m.disk.ReadAt(image, p.begin*sector)
		m.noErr(err)
		path := filepath.Join(m.root, "slot.img")
		m.noErr(os.WriteFile(path, image, 0o600))
		got, err := exec.Command("mcopy", "-i", path, "::"+osPath, "-").Output()
		if f := m.held(p, osPath); err != nil || f == nil || !bytes.Equal(got, f.content) {
			m.fatalf("mcopy (apt-get install mtools) reads %d bytes, this test %v: %v", len(got), f, err)
		}
	}
}

// once runs a fork.
func once(m *simMachine) int {
	m.run()
	return 1
}

// TestCutAtEveryStep cuts the power at every step of every scenario.
func TestCutAtEveryStep(t *testing.T) {
	list := scenarios(smallest)
	for _, sc := range scenarios(smallestFAT32) {
		if sc.name == "fails, and the next one passes" {
			sc.name, sc.every = sc.name+", FAT32", 100
			list = append(list, sc)
		}
	}
	for _, sc := range list {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			m := newSimMachine(t, sc, 1, t.TempDir())
			count := m.forks(func(stepKind) bool { return true }, once)
			t.Logf("%d steps, %d power cuts", m.steps, count)
			m.compareWithMtools()
			if count < m.steps/sc.every+50 {
				t.Errorf("%d power cuts at %d steps", count, m.steps)
			}
		})
	}
}

// TestTwoCuts cuts the power at every step of two changes of the default, and then at
// every step of those that follow.
func TestTwoCuts(t *testing.T) {
	table := func(k stepKind) bool { return k == tableStep }
	for _, sc := range scenarios(smallest) {
		if sc.name != "rolled back" && sc.name != "one after the other" {
			continue
		}
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			count := newSimMachine(t, sc, 2, t.TempDir()).forks(table, func(f *simMachine) int { return f.forks(table, once) })
			if t.Logf("%d power cuts", count); count < 100 {
				t.Errorf("only %d", count)
			}
		})
	}
}

// TestFirmwareFaults has the firmware lose its variables, or have no room for them, in
// this boot and the next or for ever, from each step on that has to do with them.
func TestFirmwareFaults(t *testing.T) {
	faults := map[string]func(*simMachine){
		"lost":             func(m *simMachine) { m.forget() },
		"full":             func(m *simMachine) { m.full = 2 },
		"full for ever":    func(m *simMachine) { m.full = forEver },
		"full and a reset": func(m *simMachine) { m.full = 2; panic(powerCut{nothing}) },
		"full for ever and a reset": func(m *simMachine) {
			m.full = forEver
			panic(powerCut{nothing})
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, count := t.TempDir(), 0
			for _, sc := range scenarios(smallest) {
				for at, more := 1, true; more; at++ {
					m := newSimMachine(t, sc, 3, root)
					n := 0
					more = false
					m.onStep = func(k stepKind) {
						if k != variableStep && k != journalStep || more {
							return
						}
						if n++; n == at {
							more = true
							m.tell("at a step of kind %s: %s", k, name)
							fault(m)
						}
					}
					m.run()
					m.discard()
					count++
				}
			}
			t.Logf("%d runs", count)
		})
	}
}

// TestManyCuts cuts the power again and again at random steps.
func TestManyCuts(t *testing.T) {
	const runs = 2000
	list := scenarios(smallest)
	for part := range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for seed := part; seed < runs; seed += 4 {
				m := newSimMachine(t, list[seed%len(list)], uint64(seed), root)
				m.cutAtRandom(1 + m.random.IntN(5))
				m.run()
				m.discard()
			}
		})
	}
}

// cutAtRandom cuts the power so many times: at any step, or at one of a kind, so that
// the few that matter most are not lost among the many.
func (m *simMachine) cutAtRandom(times int) {
	kinds := []stepKind{"", tableStep, variableStep, journalStep, syncStep}
	kind := kinds[m.random.IntN(len(kinds))]
	left := 1 + m.random.IntN(8)
	if kind == "" {
		left = 1 + m.random.IntN(300)
	}
	m.onStep = func(k stepKind) {
		if kind != "" && kind != k {
			return
		}
		if left--; left > 0 {
			return
		}
		if m.onStep = func(stepKind) {}; times > 1 {
			m.cutAtRandom(times - 1)
		}
		m.lost, m.unasked = m.random.IntN(8) == 0, m.random.IntN(8) == 0
		panic(powerCut{[]func(int) bool{nothing, everything, some(m.random), some(m.random), first(m.random.IntN(len(m.disk.cache) + 1))}[m.random.IntN(5)]})
	}
}
