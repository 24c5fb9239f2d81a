// Package conformance proves that the Kubernetes of a node behaves as its
// users expect although much of it has been cut away: it boots one machine
// with the built image and runs every case of its table on it, through the
// Kubernetes API and the stock kubectl.
//
//	go test ./ci/conformance -v -timeout 40m -run 'TestConformance/case/server-side'
//
// docs/TESTING.md says what it needs and what it leaves behind.
package conformance
