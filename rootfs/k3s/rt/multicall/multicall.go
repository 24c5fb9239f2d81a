// Package multicall finds the program that a process shall be by the name
// that it was called under.
package multicall

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Shim is the name of containerd's shim for runc.
const Shim = "containerd-shim-runc-v2"

// Table maps a program's name to its main function.
type Table map[string]func()

// Find returns the program for the command line args, whose first element is
// the name that the process was called under.
//
// The shim starts itself again by the path of its executable, which is not
// its name when that was a link: an unknown name followed by -namespace, which
// begins every command line of the shim and of nothing else here, is the shim.
func (t Table) Find(args []string) (func(), error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("no name to be called under")
	}
	name := filepath.Base(args[0])
	if program, ok := t[name]; ok {
		return program, nil
	}
	if program, ok := t[Shim]; ok && len(args) > 1 && args[1] == "-namespace" {
		return program, nil
	}
	return nil, fmt.Errorf("%q is none of my names: %s", name, strings.Join(t.names(), ", "))
}

func (t Table) names() []string {
	names := make([]string, 0, len(t))
	for n := range t {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
