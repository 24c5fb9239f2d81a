package dashboard

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
	"github.com/digital-mycelium/os/pkg/api"
)

// style is how things look.
type style struct {
	title, head, selected, good, bad, warn, dim, tab ansi.Style
	glyphs
}

// glyphs are the characters beyond letters.
type glyphs struct{ mark, full, empty, line, cut, arrows, sides string }

var (
	unicodeGlyphs = glyphs{mark: "▸", full: "█", empty: "░", line: "─", cut: "…", arrows: "↑↓", sides: "←→"}
	asciiGlyphs   = glyphs{mark: ">", full: "#", empty: ".", line: "-", cut: "~", arrows: "up/down", sides: "left/right"}
)

func newStyle(ascii bool) style {
	var plain ansi.Style
	s := style{
		title:    plain.Bold(),
		head:     plain.Faint(),
		selected: plain.Bold(),
		good:     plain.ForegroundColor(ansi.Green),
		bad:      plain.ForegroundColor(ansi.Red).Bold(),
		warn:     plain.ForegroundColor(ansi.Yellow),
		dim:      plain.Faint(),
		tab:      plain.Reverse(true),
		glyphs:   unicodeGlyphs,
	}
	if ascii {
		s.glyphs = asciiGlyphs
	}
	return s
}

// The lines that are not a node's and not the lower half's: title, head of the
// table, problems, tabs, keys.
const fixedLines = 5

// rows is how many nodes are shown at once.
func (m *model) rows() int { return max(1, min(len(m.nodes), (m.height-fixedLines)/2)) }

func (m *model) paneHeight() int { return max(0, m.height-fixedLines-m.rows()) }

// paneLength is how many lines the lower half has to show.
func (m *model) paneLength() int {
	if m.pane == processesPane {
		return len(m.processes) + 1 // the table's head
	}
	return len(m.lines)
}

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen = true
	return v
}

// draw returns height lines of at most width columns.
func (m *model) draw() string {
	lines := []string{m.titleLine()}
	lines = append(lines, m.table()...)
	lines = append(lines, m.problemLine(), m.tabLine())
	lines = append(lines, m.lower()...)
	lines = append(lines, m.keyLine())
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], m.width, m.style.cut)
	}
	return strings.Join(lines[:max(0, min(len(lines), m.height))], "\n")
}

func (m *model) titleLine() string {
	ready, silent, troubled := 0, 0, 0
	for _, n := range m.nodes {
		switch {
		case n.err != nil:
			silent++
		case n.status == nil:
		case n.status.Kubernetes.NodeReady:
			ready++
		}
		if n.err == nil && n.status != nil && len(n.status.Problems) > 0 {
			troubled++
		}
	}
	text := fmt.Sprintf("%s: %s, %d Ready", m.network, count(len(m.nodes), "node"), ready)
	if silent > 0 {
		text += fmt.Sprintf(", %d unreachable", silent)
	}
	if troubled > 0 {
		text += fmt.Sprintf(", %d with problems", troubled)
	}
	clock := m.now().Local().Format("15:04:05")
	return m.style.title.Styled(justify(text, clock, m.width))
}

func justify(left, right string, width int) string {
	return left + strings.Repeat(" ", max(1, width-ansi.StringWidth(left)-ansi.StringWidth(right))) + right
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// column is one of the table's.
type column struct {
	head  string
	width int
}

// columns divide the width; what is beyond 80 goes to names and bars.
func (m *model) columns() []column {
	spare := max(0, m.width-80)
	name := 12 + min(spare/3, 20)
	version := 9 + min(spare/6, 12)
	bar := 11 + min(spare/6, 14)
	return []column{{"NODE", name}, {"ROLE", 6}, {"PHASE", 11}, {"READY", 5}, {"VERSION", version}, {"LOAD", 5}, {"MEMORY", bar}, {"DISK", bar}}
}

func (m *model) table() []string {
	cols := m.columns()
	head := make([]string, len(cols))
	for i, c := range cols {
		head[i] = fit(c.head, c.width, m.style.cut)
	}
	lines := []string{m.style.head.Styled("  " + strings.Join(head, " "))}
	if len(m.nodes) == 0 {
		return append(lines, "  no node is known: mycelium node enrol ADDRESS")
	}
	rows := m.rows()
	first := max(0, min(m.selected-rows/2, len(m.nodes)-rows))
	for i, n := range m.nodes[first : first+rows] {
		lines = append(lines, m.row(cols, n, first+i == m.selected))
	}
	return lines
}

func (m *model) row(cols []column, n *nodeState, selected bool) string {
	cells := []string{n.Name, n.Role, "connecting", "-", "-", "-", "-", "-"}
	look := make([]ansi.Style, len(cells))
	for i := range look {
		look[i] = m.style.dim
	}
	if s := n.status; s != nil {
		cells = []string{
			n.Name, n.Role, s.Phase, yesNo(s.Kubernetes.NodeReady), s.Version,
			fmt.Sprintf("%.2f", s.Load.One), m.bar(memoryUse(s.Memory), cols[6].width), m.bar(diskUse(s.Volumes), cols[7].width),
		}
		look = m.looks(s)
	}
	if n.err != nil {
		cells[2], cells[3] = "unreachable", "?"
		for i := range look {
			look[i] = m.style.dim
		}
		look[2] = m.style.bad
	}
	mark := "  "
	if selected {
		mark = m.style.mark + " "
		look[0] = m.style.selected
	}
	for i := range cells {
		cells[i] = look[i].Styled(fit(plaintext.Line(cells[i]), cols[i].width, m.style.cut))
	}
	return mark + strings.Join(cells, " ")
}

// looks are the styles of a row's cells.
func (m *model) looks(s *api.Status) []ansi.Style {
	out := make([]ansi.Style, 8)
	out[2], out[3] = m.style.warn, m.style.bad
	if s.Phase == "running" {
		out[2] = m.style.good
	}
	if s.Kubernetes.NodeReady {
		out[3] = m.style.good
	}
	for i, use := range map[int]float64{6: memoryUse(s.Memory), 7: diskUse(s.Volumes)} {
		switch {
		case use >= 0.9:
			out[i] = m.style.bad
		case use >= 0.75:
			out[i] = m.style.warn
		}
	}
	if s.Load.Processors > 0 && s.Load.One > 2*float64(s.Load.Processors) {
		out[5] = m.style.warn
	}
	return out
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// memoryUse is the part in use, less than 0 when it is not known.
func memoryUse(m api.Memory) float64 {
	if m.Total == 0 {
		return -1
	}
	return 1 - float64(min(m.Available, m.Total))/float64(m.Total)
}

// diskUse is that of DATA, which grows; less than 0 when it is not known.
func diskUse(volumes []api.Volume) float64 {
	for _, v := range volumes {
		if v.Label == "DATA" && v.Size > 0 {
			return 1 - float64(min(v.Free, v.Size))/float64(v.Size)
		}
	}
	return -1
}

// bar draws use, from 0 to 1, in width columns with its percentage.
func (m *model) bar(use float64, width int) string {
	if use < 0 {
		return "-"
	}
	cells := width - 5
	full := int(use*float64(cells) + 0.5)
	return strings.Repeat(m.style.full, full) + strings.Repeat(m.style.empty, cells-full) + fmt.Sprintf("%4.0f%%", use*100)
}

// fit makes text exactly width columns wide.
func fit(text string, width int, tail string) string {
	text = ansi.Truncate(text, width, tail)
	return text + strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
}

// problemLine says what is wrong with the selected node.
func (m *model) problemLine() string {
	n := m.node()
	switch {
	case n == nil:
		return ""
	case n.err != nil:
		text := "unreachable: " + plaintext.Line(n.err.Error())
		if n.status != nil {
			text = fmt.Sprintf("last seen %s ago, %s", m.now().Sub(n.seen).Truncate(time.Second), text)
		}
		return m.style.bad.Styled(text)
	case n.status == nil:
		return ""
	}
	problems := n.status.Problems
	if len(problems) == 0 {
		if k := n.status.Kubernetes; !k.NodeReady && k.Reason != "" {
			return m.style.warn.Styled("not Ready: " + plaintext.Line(k.Reason))
		}
		return ""
	}
	more := ""
	if len(problems) > 1 {
		more = fmt.Sprintf("(1 of %d problems) ", len(problems))
	}
	return m.style.bad.Styled("! " + more + plaintext.Line(problems[0]))
}

func (m *model) tabLine() string {
	n := m.node()
	if n == nil {
		return strings.Repeat(m.style.line, m.width)
	}
	left := strings.Repeat(m.style.line, 2) + " " + plaintext.Line(n.Name) + " "
	for i, name := range []string{"logs", "events", "processes"} {
		if pane(i) == logsPane && m.pane == logsPane {
			name += ": " + plaintext.Line(m.shown.log)
		}
		if pane(i) == m.pane {
			left += m.style.tab.Styled("[" + name + "]")
		} else {
			left += m.style.dim.Styled(" " + name + " ")
		}
	}
	right := ""
	switch {
	case m.paused:
		right = " paused "
	case m.scroll > 0 && m.pane != processesPane:
		right = fmt.Sprintf(" %d more below ", m.scroll)
	}
	gap := m.width - ansi.StringWidth(left) - ansi.StringWidth(right) - 1
	return left + " " + strings.Repeat(m.style.line, max(0, gap)) + right
}

// lower returns the lower half, exactly paneHeight lines.
func (m *model) lower() []string {
	height := m.paneHeight()
	var out []string
	switch {
	case m.node() == nil:
	case m.ended:
		out = append(out, m.tail(height-1)...)
		out = append(out, m.style.dim.Styled("("+endText(m.endErr)+"; trying again)"))
	case !m.received:
		out = append(out, m.style.dim.Styled("(waiting for the node)"))
	default:
		out = m.tail(height)
	}
	for len(out) < height {
		out = append(out, "")
	}
	return out[:height]
}

func endText(err error) string {
	if err == nil {
		return "the node ended the connection"
	}
	return plaintext.Line(err.Error())
}

// tail is what of the lower half is on the screen.
func (m *model) tail(height int) []string {
	if height <= 0 {
		return nil
	}
	if m.pane == processesPane {
		return m.processTable(height)
	}
	end := len(m.lines) - min(m.scroll, len(m.lines))
	return append([]string(nil), m.lines[max(0, end-height):end]...)
}

func (m *model) processTable(height int) []string {
	if len(m.processes) == 0 {
		return nil
	}
	out := []string{m.style.head.Styled("    PID STATE THREADS    MEMORY   CPU TIME NAME             GROUP")}
	first := max(0, min(m.scroll, len(m.processes)-(height-1)))
	for _, p := range m.processes[first:min(len(m.processes), first+height-1)] {
		cpu := time.Duration(p.CPU * float64(time.Second)).Truncate(time.Second)
		out = append(out, fmt.Sprintf("%7d %-5s %7d %5d MiB %10s %s %s", p.PID, plaintext.Line(p.State), p.Threads, p.Resident>>20, cpu,
			fit(plaintext.Line(p.Name), 16, m.style.cut), plaintext.Line(cmp.Or(p.Cgroup, "-"))))
	}
	return out
}

func (m *model) keyLine() string {
	keys := []string{m.style.arrows + " node", "tab view", m.style.sides + " log", "space pause", "pgup/pgdn scroll", "q quit"}
	if m.pane != logsPane {
		keys = append(keys[:2:2], keys[3:]...)
	}
	return m.style.dim.Styled(strings.Join(keys, "  "))
}
