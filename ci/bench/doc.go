// Command bench measures how long the OS takes from power-on to a running pod,
// how much memory and how much disk it takes, against what its user would
// otherwise do: a minimal Debian with systemd and upstream's full K3s of the
// same version. Both run on the same emulated machine, in turns, in one run, and
// are watched from outside by the same code.
//
// docs/BENCHMARKS.md says what is measured and how; the results go to
// out/bench/boot.json and out/bench/boot.md.
package main
