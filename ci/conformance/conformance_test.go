package conformance

import (
	"slices"
	"testing"
)

// testCase is one behaviour of Kubernetes that the node must show.
type testCase struct {
	name string
	run  func(*scope)
}

// TestConformance boots one node and runs every case on it, several at once.
// Select with -run 'TestConformance/NAME'.
func TestConformance(t *testing.T) {
	c := start(t)
	t.Run("case", func(t *testing.T) {
		for _, test := range slices.Concat(
			clientCases(), customResourceCases(), workloadCases(), configCases(), volumeCases(),
			podCases(), probeCases(), streamCases(), networkCases(), securityCases(), resourceCases(),
			accessCases(), lifecycleCases(), absentCases(),
		) {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				defer c.suite.Times.Start(t)()
				test.run(c.begin(t, test.name))
			})
		}
	})
	// Alone: it makes the whole node refuse or stop pods.
	for _, test := range nodeCases() {
		t.Run(test.name, func(t *testing.T) {
			defer c.suite.Times.Start(t)()
			test.run(c.begin(t, test.name))
		})
	}
}
