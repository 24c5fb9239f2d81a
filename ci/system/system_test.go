package system

import (
	"testing"

	"github.com/digital-mycelium/os/ci/lab"
)

// testCase is one story.
type testCase struct {
	name string
	run  func(*testing.T, *lab.Suite)
}

// TestSystem runs every story, quick ones first, one after the other: a machine
// that boots keeps two processors busy, and two at once took more than twice as long.
func TestSystem(t *testing.T) {
	suite, err := lab.NewSuite()
	if err != nil {
		t.Fatal(err)
	}
	if err := suite.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { suite.Finish(t) })
	for _, test := range []testCase{
		{"wrong configuration", wrongConfiguration},
		{"configuration", configurationSources},
		{"kernel panic", kernelPanic},
		{"broken root", brokenRoot},
		{"sealed identity", sealedIdentity},
		{"life", life},
		{"no network", noNetwork},
		{"install", installs},
		{"network install", networkInstall},
		{"misfortunes", misfortunes},
		{"command line", commandLine},
		{"three nodes", threeNodes},
		{"three servers", threeServers},
		{"power cuts in the first boot", powerCutsFirst},
		{"power cuts in updates", powerCutsInUpdates},
		{"update faults", updateFaults},
		{"rollout", rollout},
		{"pc", pc},
		{"arm64", arm64Boards},
		{"rpi", raspberryPi},
		{"netboot", netboot},
		{"secure boot", secureBoot},
		{"wifi", wifi},
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
