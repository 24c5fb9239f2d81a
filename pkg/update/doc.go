// Package update replaces the operating system of a machine such that no moment
// of it can leave the machine without one that works.
//
// A machine has two slots. One holds the system that is known to be good, and the
// firmware starts it whenever nothing else is asked of it: the default. A new
// release is written to the other slot, read back, and tried: the firmware
// starts it once. Only when it has shown that it works does it become the default,
// and until then whatever happens (a hang, a panic, a power cut) ends in the old
// one.
//
//	Empty ──written and read back──▶ Staged ──start it once──▶ Trial ──works──▶ Good
//	  ▲                                 ▲                        │ │
//	  │                                 └──── rebooted on purpose┘ └──does not──▶ Bad
//	  └──────────────────── begin to write another release ◀── Staged, Good, Bad
//
// State and its Apply are that machine, a pure function without input or output.
// Updater drives it: it writes the journal and asks the Firmware in the order in
// which a power cut between any two steps is harmless. Adapters for firmwares are
// in packages below this one.
package update
