package install

import (
	"fmt"
	"strconv"
	"strings"
)

// Menu leads a person at the machine's console from "i" to an order. The zero value
// is at its beginning. It is not safe for concurrent use.
type Menu struct {
	disks  []Disk
	chosen *Disk
	keep   bool
}

// Hint is what a console says to who might want the menu.
const Hint = "press i and Enter to install the system on a disk"

// Busy reports whether somebody is in the menu.
func (m *Menu) Busy() bool { return m.disks != nil }

// Line takes a line that was typed and returns what to answer, and an order when all
// was said. disks returns the disks that there are.
func (m *Menu) Line(line string, disks func() []Disk) (answer string, order *Order) {
	line = strings.TrimSpace(line)
	switch {
	case m.disks == nil:
		if line != "i" && line != "I" {
			return "", nil
		}
		return m.begin(disks()), nil
	case line == "" || line == "q":
		*m = Menu{}
		return "Nothing is installed.", nil
	case m.chosen == nil:
		return m.choose(line), nil
	}
	return m.confirm(line)
}

// begin lists the disks.
func (m *Menu) begin(all []Disk) string {
	var b strings.Builder
	m.disks = []Disk{}
	for _, d := range all {
		if d.Medium || d.ReadOnly {
			continue
		}
		m.disks = append(m.disks, d)
		fmt.Fprintf(&b, "  %d  %s: %s\n", len(m.disks), d, d.Text)
	}
	if len(m.disks) == 0 {
		m.disks = nil
		return "There is no disk to install on."
	}
	return "Install on which disk? Type its number; Enter alone leaves.\n" + b.String()
}

func (m *Menu) choose(line string) string {
	n, err := strconv.Atoi(line)
	if err != nil || n < 1 || n > len(m.disks) {
		return fmt.Sprintf("Type a number from 1 to %d, or Enter to leave.", len(m.disks))
	}
	m.chosen = &m.disks[n-1]
	m.keep = m.chosen.Kind == Ours
	if m.keep {
		return fmt.Sprintf("%s holds %s.\nType KEEP to install and keep its data, WIPE to give everything on it up, Enter to leave.", m.chosen, m.chosen.Text)
	}
	return fmt.Sprintf("Everything on %s is lost: %s.\nType YES to install, Enter to leave.", m.chosen, m.chosen.Text)
}

func (m *Menu) confirm(line string) (string, *Order) {
	order := &Order{Disk: m.chosen.Name, Wipe: true}
	switch {
	case m.keep && line == "KEEP":
		order.Wipe = false
	case m.keep && line == "WIPE", !m.keep && line == "YES":
	default:
		*m = Menu{}
		return "That was not it: nothing is installed.", nil
	}
	*m = Menu{}
	return "Installing on " + order.Disk + ".", order
}
