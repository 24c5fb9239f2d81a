//go:build !linux

package qemu

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// errLinux is what everything here fails with on other systems: a machine's process is
// watched over in ways that only Linux has.
var errLinux = errors.New("machines are run by QEMU on Linux alone")

func hostBootID() (string, error) { return "", errLinux }

func openProcess(int) (*os.File, error) { return nil, errLinux }

func signalProcess(*os.File, unix.Signal) error { return errLinux }

func cloneFile(*os.File, *os.File) error { return errLinux } // its data is copied then

func closeOnExec() error { return errLinux }
