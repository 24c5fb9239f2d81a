// Package proctitle stands in for a package that needs cgo to change the
// process title. Secrets reach K3s in files here, never in arguments.
package proctitle

// SetProcTitle does nothing.
func SetProcTitle(cmd string) {}
