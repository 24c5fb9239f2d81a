package dashboard

import (
	"cmp"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/digital-mycelium/os/pkg/api"
)

const (
	// maxLines is how many lines the lower half keeps.
	maxLines = 2000
	// The size of a terminal that does not say its own.
	usualWidth, usualHeight = 80, 24
)

// pane is what the lower half shows.
type pane int

const (
	logsPane pane = iota
	eventsPane
	processesPane
	panes // their number
)

// view names a stream of the lower half.
type view struct {
	id   string
	pane pane
	log  string // for logsPane
}

// nodeState is a node and what is known of it.
type nodeState struct {
	Node
	status *api.Status // the last, nil before the first
	err    error       // why there is no newer one
	seen   time.Time   // when the status came
}

// opener makes the commands that call the nodes.
type opener interface {
	watch(id string) tea.Cmd
	open(v view, generation int) tea.Cmd
}

type (
	// statusMsg is a node's status, or why there is none.
	statusMsg struct {
		id     string
		status *api.Status
		err    error
	}
	// paneMsg is what a stream of the lower half brought.
	paneMsg struct {
		generation int
		lines      []string
		processes  []api.Process
	}
	// endedMsg says that such a stream has ended.
	endedMsg struct {
		generation int
		err        error
	}
	reopenMsg struct{ generation int }
	tickMsg   struct{}
)

// model is the state of the screen.
type model struct {
	network       string
	nodes         []*nodeState
	selected      int
	pane          pane
	log           string // chosen by the person; empty: the node's first service
	shown         view
	generation    int // counts the streams of the lower half
	lines         []string
	processes     []api.Process
	received      bool // the stream has brought something
	ended         bool
	endErr        error
	scroll        int // lines below the last one that is shown; processes above the first
	paused        bool
	width, height int
	streams       opener
	now           func() time.Time
	style         style
}

func newModel(network string, nodes []Node, streams opener, now func() time.Time, style style) *model {
	m := &model{network: network, streams: streams, now: now, style: style, width: usualWidth, height: usualHeight}
	for _, n := range nodes {
		m.nodes = append(m.nodes, &nodeState{Node: n})
	}
	m.sort()
	return m
}

func (m *model) sort() {
	slices.SortStableFunc(m.nodes, func(a, b *nodeState) int { return cmp.Compare(a.Name, b.Name) })
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd {
	cmds := []tea.Cmd{tick(), m.reopen()}
	for _, n := range m.nodes {
		cmds = append(cmds, m.streams.watch(n.ID))
	}
	return tea.Batch(cmds...)
}

func tick() tea.Cmd { return tea.Tick(time.Second, func(time.Time) tea.Msg { return tickMsg{} }) }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	case tickMsg:
		return m, tick()
	case statusMsg:
		return m, m.learn(msg)
	case paneMsg:
		if msg.generation == m.generation {
			m.receive(msg)
		}
	case endedMsg:
		if msg.generation == m.generation {
			m.ended, m.endErr = true, msg.err
			return m, tea.Tick(retryPause, func(time.Time) tea.Msg { return reopenMsg{msg.generation} })
		}
	case reopenMsg:
		if msg.generation == m.generation && m.ended {
			return m, m.reopen()
		}
	}
	return m, nil
}

// key does what a key is for.
func (m *model) key(name string) tea.Cmd {
	page := max(1, m.paneHeight()-1)
	switch name {
	case "q", "esc", "ctrl+c":
		return tea.Quit
	case "up", "k":
		m.selected = max(0, m.selected-1)
	case "down", "j":
		m.selected = max(0, min(len(m.nodes)-1, m.selected+1))
	case "tab":
		m.pane = (m.pane + 1) % panes
	case "shift+tab":
		m.pane = (m.pane + panes - 1) % panes
	case "l":
		m.pane = logsPane
	case "e":
		m.pane = eventsPane
	case "p":
		m.pane = processesPane
	case "left", "right":
		m.chooseLog(name == "right")
	case "space":
		m.paused = !m.paused
		m.scroll = 0
	case "pgup", "b":
		m.scrollBy(page)
	case "pgdown", "f":
		m.scrollBy(-page)
	case "home", "g":
		m.scrollBy(maxLines)
	case "end", "G":
		m.paused = false
		m.scrollBy(-maxLines)
	}
	return m.show()
}

// scrollBy moves the lower half towards the beginning. Logs count from their
// end, processes from the first.
func (m *model) scrollBy(lines int) {
	if m.pane == processesPane {
		lines = -lines
	}
	m.scroll = max(0, min(m.scroll+lines, m.paneLength()-m.paneHeight()))
}

// chooseLog takes the node's next log, or the one before.
func (m *model) chooseLog(next bool) {
	n := m.node()
	if n == nil || m.pane != logsPane {
		return
	}
	names := logNames(n.status)
	step := len(names) - 1
	if next {
		step = 1
	}
	m.log = names[(max(0, slices.Index(names, m.logOf(n)))+step)%len(names)]
}

// logNames are the logs of a node, those of services first.
func logNames(s *api.Status) []string {
	var names []string
	if s != nil {
		for _, service := range s.Services {
			names = append(names, service.Name)
		}
	}
	return append(names, "init", "kernel")
}

// logOf is the log to show of n.
func (m *model) logOf(n *nodeState) string {
	names := logNames(n.status)
	if slices.Contains(names, m.log) {
		return m.log
	}
	return names[0]
}

// node is the selected one, nil when there is none.
func (m *model) node() *nodeState {
	if len(m.nodes) == 0 {
		return nil
	}
	return m.nodes[m.selected]
}

// wanted is what the lower half is to show.
func (m *model) wanted() view {
	n := m.node()
	if n == nil {
		return view{}
	}
	v := view{id: n.ID, pane: m.pane}
	if m.pane == logsPane {
		v.log = m.logOf(n)
	}
	return v
}

// show opens another stream if the lower half is to show something else.
func (m *model) show() tea.Cmd {
	if m.wanted() == m.shown {
		return nil
	}
	return m.reopen()
}

func (m *model) reopen() tea.Cmd {
	if m.shown = m.wanted(); m.shown == (view{}) {
		return nil
	}
	m.generation++
	m.lines, m.processes, m.received, m.ended, m.endErr, m.scroll, m.paused = nil, nil, false, false, nil, 0, false
	return m.streams.open(m.shown, m.generation)
}

// learn takes over a node's status.
func (m *model) learn(msg statusMsg) tea.Cmd {
	i := slices.IndexFunc(m.nodes, func(n *nodeState) bool { return n.ID == msg.id })
	if i < 0 {
		return nil
	}
	n := m.nodes[i]
	n.err = msg.err
	if msg.status != nil {
		n.status, n.seen = msg.status, m.now()
		n.Name, n.Role = cmp.Or(msg.status.Name, n.Name), cmp.Or(msg.status.Membership.Role, n.Role)
		at := m.node()
		m.sort()
		m.selected = slices.Index(m.nodes, at)
	}
	return m.show() // a node that has just said which services it has
}

// receive takes over what a stream has brought.
func (m *model) receive(msg paneMsg) {
	m.received = true
	if msg.processes != nil {
		if !m.paused {
			m.processes = msg.processes
			slices.SortFunc(m.processes, func(a, b api.Process) int {
				return cmp.Or(cmp.Compare(b.Resident, a.Resident), cmp.Compare(a.PID, b.PID))
			})
		}
		return
	}
	m.lines = append(m.lines, msg.lines...)
	if m.scroll > 0 || m.paused {
		m.scroll += len(msg.lines) // what is on the screen stays there
	}
	if over := len(m.lines) - maxLines; over > 0 {
		m.lines = slices.Clone(m.lines[over:])
	}
	m.scroll = max(0, min(m.scroll, len(m.lines)-m.paneHeight()))
}
