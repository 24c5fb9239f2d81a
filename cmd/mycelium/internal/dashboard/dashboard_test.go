package dashboard

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/digital-mycelium/os/pkg/api"
)

var update = flag.Bool("update", false, "write the golden frames anew")

// opened records what the model asks for.
type opened struct {
	watched []string
	views   []view
}

func (o *opened) watch(id string) tea.Cmd {
	o.watched = append(o.watched, id)
	return nil
}

func (o *opened) open(v view, _ int) tea.Cmd {
	o.views = append(o.views, v)
	return nil
}

func (o *opened) last() view { return o.views[len(o.views)-1] }

// screen is a model that a test drives.
type screen struct {
	*model
	t *testing.T
	*opened
	clock time.Time
}

func newScreen(t *testing.T, names ...string) *screen {
	t.Helper()
	s := &screen{t: t, opened: &opened{}, clock: time.Date(2026, 11, 21, 15, 4, 5, 0, time.Local)}
	var nodes []Node
	for _, n := range names {
		nodes = append(nodes, Node{ID: "id-" + n, Name: n, Role: "agent"})
	}
	s.model = newModel("home", nodes, s.opened, func() time.Time { return s.clock }, newStyle(false))
	s.Init()
	return s
}

func (s *screen) send(msgs ...tea.Msg) {
	for _, m := range msgs {
		s.Update(m)
	}
}

// press sends keys by the names that bubbletea has for them.
func (s *screen) press(keys ...string) (quit bool) {
	special := map[string]tea.Key{
		"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight},
		"pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown}, "home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd},
		"tab": {Code: tea.KeyTab}, "shift+tab": {Code: tea.KeyTab, Mod: tea.ModShift}, "esc": {Code: tea.KeyEscape},
		"ctrl+c": {Code: 'c', Mod: tea.ModCtrl}, "space": {Code: tea.KeySpace, Text: " "},
	}
	for _, k := range keys {
		key, ok := special[k]
		if !ok {
			key = tea.Key{Code: []rune(k)[0], Text: k}
		}
		if _, cmd := s.Update(tea.KeyPressMsg(key)); cmd != nil {
			_, quit = cmd().(tea.QuitMsg)
		}
	}
	return quit
}

func (s *screen) size(width, height int) { s.send(tea.WindowSizeMsg{Width: width, Height: height}) }

// lines sends lines of the stream that is open.
func (s *screen) lines(lines ...string) { s.send(paneMsg{generation: s.generation, lines: lines}) }

// frame checks the size of the picture and compares it with its golden file.
func (s *screen) frame(name string) {
	s.t.Helper()
	s.fits()
	path := filepath.Join("testdata", name+".txt")
	got := trimLines(s.text()) + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if got != string(want) {
		s.t.Errorf("frame %s is\n%s\nwant\n%s", name, got, want)
	}
}

func (s *screen) fits() {
	s.t.Helper()
	lines := strings.Split(s.text(), "\n")
	if len(lines) > s.height {
		s.t.Errorf("%d lines on a screen of %d", len(lines), s.height)
	}
	for _, l := range lines {
		if w := ansi.StringWidth(l); w > s.width {
			s.t.Errorf("%d columns on a screen of %d: %q", w, s.width, l)
		}
	}
}

// text is the picture without its looks.
func (s *screen) text() string { return ansi.Strip(s.draw()) }

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func running(name, role string) *api.Status {
	return &api.Status{
		Name: name, Version: "0.2.0", Phase: "running", Membership: api.Membership{Role: role},
		Load: api.Load{One: 0.31, Processors: 2}, Memory: api.Memory{Total: 2 << 30, Available: 1 << 30},
		Volumes:    []api.Volume{{Label: "STATE", Size: 100, Free: 1}, {Label: "DATA", Size: 1000, Free: 880}},
		Services:   []api.Service{{Name: "k3s", State: "running"}},
		Kubernetes: api.Kubernetes{NodeReady: true, APIUp: true},
	}
}

func three(t *testing.T) *screen {
	s := newScreen(t, "node-1", "node-2", "node-3")
	booting := running("node-2", "agent")
	booting.Phase, booting.Kubernetes.NodeReady, booting.Problems = "network", false, []string{"no network: eth0 has no link: plug the cable in", "another"}
	s.send(statusMsg{id: "id-node-1", status: running("node-1", "server")}, statusMsg{id: "id-node-2", status: booting},
		statusMsg{id: "id-node-3", err: errors.New("dial tcp 192.168.1.23:6440: connect: no route to host")})
	return s
}

func TestFrames(t *testing.T) {
	s := three(t)
	s.frame("waiting-80x24")
	s.lines("level=info msg=started", "a long line: "+strings.Repeat("0123456789", 12))
	s.frame("logs-80x24")
	s.press("down")
	s.frame("problem-80x24")
	s.press("down")
	s.frame("unreachable-80x24")
	s.press("up", "up", "p")
	s.send(paneMsg{generation: s.generation, processes: []api.Process{
		{PID: 1, Name: "init", State: "S", Threads: 9, Resident: 20 << 20, CPU: 3.5, Cgroup: "/"},
		{PID: 311, Name: "k3s-server-with-a-long-name", State: "R", Threads: 22, Resident: 600 << 20, CPU: 3725, Cgroup: "/services/k3s"},
	}})
	s.frame("processes-80x24")
	s.size(120, 16)
	s.press("e")
	s.lines(eventLine(api.Event{Time: s.clock, Kind: "service", Subject: "k3s", Text: "running"}))
	s.frame("events-120x16")
	s.style = newStyle(true)
	s.frame("ascii-120x16")
	if i := strings.IndexFunc(s.text(), func(r rune) bool { return r > 126 }); i >= 0 {
		t.Errorf("the frame has something beyond ASCII at %d", i)
	}
}

// TestEverySize draws in all sizes, with more nodes than there is room for.
func TestEverySize(t *testing.T) {
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("node-%02d", i))
	}
	s := newScreen(t, names...)
	for range 20 {
		s.press("down")
	}
	s.lines(strings.Repeat("x", 300), "second")
	for width := 1; width < 140; width += 7 {
		for height := 1; height < 45; height++ {
			s.size(width, height)
			s.fits()
			if height >= 8 && width > 20 && !strings.Contains(s.text(), "▸ node-20") {
				t.Fatalf("the selected node is not on the screen of %d x %d:\n%s", width, height, s.text())
			}
		}
	}
	s.size(80, 24)
	if n := strings.Count(s.text(), "node-"); n != 10 { // nine rows and the tabs
		t.Errorf("%d names on the screen:\n%s", n, s.text())
	}
}

func TestKeys(t *testing.T) {
	s := three(t)
	if want := []string{"id-node-1", "id-node-2", "id-node-3"}; !slices.Equal(s.watched, want) {
		t.Errorf("watched %v", s.watched)
	}
	for _, step := range []struct {
		keys []string
		want view
	}{
		{nil, view{"id-node-1", logsPane, "k3s"}},
		{[]string{"right"}, view{"id-node-1", logsPane, "init"}},
		{[]string{"right", "right"}, view{"id-node-1", logsPane, "k3s"}},
		{[]string{"left"}, view{"id-node-1", logsPane, "kernel"}},
		{[]string{"down"}, view{"id-node-2", logsPane, "kernel"}}, // the choice goes along
		{[]string{"tab"}, view{"id-node-2", eventsPane, ""}},
		{[]string{"left"}, view{"id-node-2", eventsPane, ""}},
		{[]string{"tab"}, view{"id-node-2", processesPane, ""}},
		{[]string{"tab"}, view{"id-node-2", logsPane, "kernel"}},
		{[]string{"shift+tab"}, view{"id-node-2", processesPane, ""}},
		{[]string{"tab"}, view{"id-node-2", logsPane, "kernel"}},
		{[]string{"up", "up", "up"}, view{"id-node-1", logsPane, "kernel"}},
		{[]string{"down", "down", "down", "p"}, view{"id-node-3", processesPane, ""}},
		{[]string{"e"}, view{"id-node-3", eventsPane, ""}},
		{[]string{"l"}, view{"id-node-3", logsPane, "kernel"}},
	} {
		s.press(step.keys...)
		if s.last() != step.want || s.shown != step.want {
			t.Fatalf("after %v it shows %v, opened %v, want %v", step.keys, s.shown, s.last(), step.want)
		}
	}
	before := len(s.views)
	s.press("x", "down")
	if len(s.views) != before {
		t.Error("keys that change nothing opened a stream")
	}
	for _, k := range []string{"q", "esc", "ctrl+c"} {
		if !s.press(k) {
			t.Errorf("%s does not quit", k)
		}
	}
}

func TestScrolling(t *testing.T) {
	s := three(t)
	for i := range 100 {
		s.lines(fmt.Sprintf("line %d.", i))
	}
	visible := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(s.text(), w) {
				t.Errorf("%q is not on the screen:\n%s", w, s.text())
			}
		}
	}
	visible("line 99.")
	s.press("pgup")
	visible("line 84.", "15 more below")
	s.lines("line 100.")
	visible("line 84.", "16 more below") // stands still
	s.press("pgdown", "pgdown")
	visible("line 100.")
	s.press("home")
	visible("line 0.")
	s.press("end", "space")
	s.lines("line 101.")
	visible("line 100.", "paused")
	if strings.Contains(s.text(), "line 101.") {
		t.Error("a paused log goes on")
	}
	s.press("end")
	visible("line 101.")
	for range maxLines {
		s.lines("more")
	}
	if len(s.model.lines) != maxLines {
		t.Errorf("%d lines are kept", len(s.model.lines))
	}
	s.press("p")
	var list []api.Process
	for i := range 50 {
		list = append(list, api.Process{PID: i + 1, Name: fmt.Sprintf("process-%d.", i+1), Resident: uint64(1000-i) << 20})
	}
	s.send(paneMsg{generation: s.generation, processes: list})
	visible("process-1.")
	s.press("pgdown", "pgdown", "pgdown", "pgdown")
	visible("process-50.")
	s.press("home")
	visible("process-1.")
}

// TestStreams: what comes of an earlier stream is not shown; one that ends is
// opened again.
func TestStreamsOfTheLowerHalf(t *testing.T) {
	s := three(t)
	old := s.generation
	s.press("down")
	s.send(paneMsg{generation: old, lines: []string{"of another node"}}, endedMsg{generation: old, err: errors.New("gone")}, reopenMsg{old})
	if strings.Contains(s.text(), "of another node") || s.ended {
		t.Error("an earlier stream counts")
	}
	s.lines("kept")
	s.send(endedMsg{generation: s.generation, err: errors.New("connection\x1b[2J reset")})
	if v := s.text(); !strings.Contains(v, "kept") || !strings.Contains(v, "(connection reset; trying again)") {
		t.Errorf("the end is not told:\n%q", v)
	}
	before := len(s.views)
	s.send(reopenMsg{s.generation})
	if len(s.views) != before+1 || s.ended {
		t.Error("the stream is not opened again")
	}
	s.send(statusMsg{id: "id-node-1", err: errors.New("gone")})
	s.clock = s.clock.Add(90 * time.Second)
	s.press("up")
	if v := s.text(); !strings.Contains(v, "last seen 1m30s ago") {
		t.Errorf("the last sight is not told:\n%s", v)
	}
	empty := newScreen(t)
	empty.press("down", "up", "tab", "right", "pgup", "home")
	if !strings.Contains(empty.text(), "mycelium node enrol") {
		t.Errorf("an empty network does not say what to do:\n%s", empty.text())
	}
	empty.fits()
}

// network is a Source.
type network struct {
	panics bool
	log    string
}

func (n *network) Name() string  { return "home" }
func (n *network) Nodes() []Node { return []Node{{ID: "a", Name: "node-1"}} }

func (n *network) WatchStatus(ctx context.Context, _ string, f func(*api.Status) error) error {
	if err := f(running("node-1", "server")); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (n *network) Log(_ context.Context, _, name string, _ int) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(strings.ReplaceAll(n.log, "NAME", name))), nil
}

func (n *network) Events(_ context.Context, _ string, f func(api.Event) error) error {
	if n.panics {
		panic("a fault")
	}
	return f(api.Event{Kind: "problem", Text: "an event\nof two lines"})
}

func (n *network) Processes(context.Context, string) ([]api.Process, error) {
	return []api.Process{{PID: 4711, Name: "a process"}}, nil
}

// terminal gives keys when the screen has shown what comes before them, and
// remembers all that was written.
type terminal struct {
	steps []step
	keys  *io.PipeWriter
	buf   bytes.Buffer
}

type step struct{ seen, key string }

func (o *terminal) Write(p []byte) (int, error) {
	o.buf.Write(p)
	for len(o.steps) > 0 && strings.Contains(o.buf.String(), o.steps[0].seen) {
		key := o.steps[0].key
		o.steps = o.steps[1:]
		go func() { _, _ = io.WriteString(o.keys, key) }()
	}
	return len(p), nil
}

const (
	enter  = "\x1b[?1049h"
	leave  = "\x1b[?1049l"
	cursor = "\x1b[?25h"
)

func show(t *testing.T, source Source, steps ...step) (string, error) {
	t.Helper()
	in, keys := io.Pipe()
	out := &terminal{keys: keys, steps: steps}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := Run(ctx, source, Options{In: in, Out: out})
	if ctx.Err() != nil {
		t.Fatalf("it did not end; it waits for %v and has shown\n%q", out.steps, out.buf.String())
	}
	return out.buf.String(), err
}

// restored checks that what a terminal was written leaves it as it was, with
// nothing of the picture.
func restored(t *testing.T, out string) {
	t.Helper()
	before, after, left := strings.Cut(out, leave)
	if !left || !strings.Contains(before, enter) || strings.TrimSpace(ansi.Strip(after)) != "" || !strings.Contains(after, cursor) {
		t.Errorf("the terminal is not as before: %q", out[max(0, len(out)-100):])
	}
}

func TestRun(t *testing.T) {
	out, err := show(t, &network{log: "the log NAME\nits end"}, step{"its end", "e"}, step{"an event of two lines", "p"}, step{"4711", "q"})
	if err != nil {
		t.Fatal(err)
	}
	restored(t, out)
}

func TestPanicRestoresTheTerminal(t *testing.T) {
	out, err := show(t, &network{log: "its end\n", panics: true}, step{"its end", "e"})
	if err == nil || !strings.Contains(err.Error(), "fault") {
		t.Errorf("error %v", err)
	}
	restored(t, out)
}

func TestReadLines(t *testing.T) {
	var got []string
	long := strings.Repeat("y", maxLine+10)
	if err := readLines(strings.NewReader("a\x1b[31m\r\n\nb\n"+long+"\nc"), func(l []string) { got = append(got, l...) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "", "b", long[:maxLine], long[maxLine:], "c"}; !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d: %.100q", len(got), len(want), got)
	}
}
