// Package rootless stands in for K3s' rootless mode, which this build leaves out.
package rootless

import "errors"

// Rootless always fails.
func Rootless(stateDir string, enableIPv6 bool) error {
	return errors.New("this build has no rootless mode: leave out --rootless")
}
