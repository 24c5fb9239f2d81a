package system

import (
	"os"
	"testing"

	"github.com/digital-mycelium/os/ci/lab"
)

// testCase is one story of a machine.
type testCase struct {
	name string
	run  func(*testing.T, *lab.Suite)
}

// TestSystem runs every story, quick ones first, one after the other: two
// booting machines on two emulated processors starve each other.
func TestSystem(t *testing.T) {
	suite, err := lab.NewSuite()
	if err != nil {
		t.Fatal(err)
	}
	if err := suite.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { suite.Times.Print(os.Stdout) })
	for _, test := range []testCase{
		{"wrong configuration", wrongConfiguration},
		{"kernel panic", kernelPanic},
		{"broken root", brokenRoot},
		{"life", life},
		{"small memory", smallMemory},
		{"no network", noNetwork},
		{"crashes and hangs", crashesAndHangs},
		{"wrong clock", wrongClock},
		{"damaged disk", damagedDisk},
		{"full disk", fullDisk},
		{"command line", commandLine},
		{"power cuts in the first boot", powerCutsFirst},
		{"power cuts in later boots", powerCutsLater},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer suite.Times.Start(t)()
			test.run(t, suite)
		})
	}
}

// must ends the test when err is not nil.
func must(t testing.TB, step string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", step, err)
	}
}
