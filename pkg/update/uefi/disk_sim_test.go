package uefi

import (
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
		{name: "one after the other", goals: []goal{{"update", good}, {"update", next}}},
		{name: "the power goes three times while it is written", goals: []goal{{"update", good}}, outages: []int{30, 130, 350}},
	}
	for _, sc := range list {
		sc.first, sc.slotBytes = one, slotBytes
	}
	return list
}

// smallest is the smallest slot that pkg/fat makes a file system in.
const smallest = 3 * mib

func TestSimPlain(t *testing.T) {
	for _, sc := range scenarios(smallest) {
		m := newSimMachine(t, sc, 1)
		kinds := map[stepKind]int{}
		m.onStep = func(k stepKind) { kinds[k]++ }
		m.run()
		t.Log(sc.name, m.boots, m.steps, kinds)
	}
}
