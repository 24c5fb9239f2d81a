// Package system boots the built image and does to the machine what happens to
// machines: power cuts, full and broken disks, missing networks, wrong clocks,
// little memory, crashes, hangs, wrong configuration.
//
//	go test ./ci/system -v -timeout 60m -run 'TestSystem/power'
//
// docs/TESTING.md says what each test does, what it needs and what it leaves.
package system
