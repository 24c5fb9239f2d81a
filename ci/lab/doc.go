// Package lab is what the system tests stand on: machines made from the built
// image, faults put into them from outside (power, disks, network, clock), and
// a record of what a machine said when a test fails.
//
// It reaches a machine only as its owner or its bad luck would: through the
// machine API, the Kubernetes API, the serial console, QEMU's monitor, and the
// bytes of the disk while the machine is off.
package lab
