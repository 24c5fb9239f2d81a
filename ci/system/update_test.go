package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// Limits of trials. The short one is for what never comes up; the long one is
// several times what a boot takes here.
const (
	shortTrial = time.Minute
	longTrial  = 5 * time.Minute
)

// updating is a machine with a workload whose OS is replaced.
type updating struct {
	*lab.Machine
	suite     *lab.Suite
	developer lab.Developer
	releases  *lab.ReleaseServer
	network   identity.NetworkID
	dir       string
	base      string // the version that it began with
	// patience bounds a verdict and what comes after it until the node is Ready.
	patience time.Duration
}

// newUpdating makes a machine that a developer may push to and that knows a release
// server. It starts none. change adds to its configuration.
func newUpdating(t *testing.T, suite *lab.Suite, name string, node qemu.NodeSpec, change ...func(*config.Config)) *updating {
	t.Helper()
	u := &updating{
		suite: suite, developer: lab.NewDeveloper(), releases: lab.NewReleaseServer(t), dir: t.TempDir(), patience: 4 * longTrial,
	}
	c := u.config(longTrial)
	for _, f := range change {
		f(c)
	}
	u.Machine = suite.Machine(t, lab.MachineSpec{Name: name, Config: c, Node: node})
	return u
}

// startUpdating boots such a machine with a workload.
func startUpdating(t *testing.T, suite *lab.Suite, name string) *updating {
	t.Helper()
	u := newUpdating(t, suite, name, qemu.NodeSpec{})
	u.begin(t, u.MustBoot(t))
	must(t, "deploy", u.Deploy(t.Context()))
	must(t, "workload", u.WaitWorkload(t.Context()))
	return u
}

// begin notes what runs before the first update.
func (u *updating) begin(t *testing.T, status *api.Status) {
	t.Helper()
	u.base = status.Version
	var err error
	u.network, err = identity.ParseNetworkID(status.Membership.Network)
	must(t, "network", err)
}

func (u *updating) config(trial time.Duration) *config.Config {
	c := config.Default()
	c.Update = config.Update{
		Server: u.releases.URL, Root: u.releases.Root, Developers: []string{u.developer.Key.Public().String()}, Trial: trial.String(),
	}
	return c
}

// limitTrials sets how long a trial may take.
func (u *updating) limitTrials(t *testing.T, trial time.Duration) {
	t.Helper()
	u.reconfigure(t, func(c *config.Config) { c.Update.Trial = trial.String() })
}

// reconfigure changes the machine's configuration as it runs, and returns what the node
// says of the changes.
func (u *updating) reconfigure(t *testing.T, change func(*config.Config)) (changes []config.Change) {
	t.Helper()
	must(t, "change the configuration", u.call(within(t, time.Minute), func(ctx context.Context, c *api.Client) error {
		running, _, err := c.Configuration(ctx)
		if err != nil {
			return err
		}
		next, err := config.ParseUpdate(running, nil)
		if err != nil {
			return err
		}
		change(next)
		document, err := next.Document() // a secret that stays is unknown, and named as one
		if err != nil {
			return err
		}
		changes, err = c.ApplyConfiguration(ctx, document, false)
		return err
	}))
	return changes
}

// call calls the machine API.
func (u *updating) call(ctx context.Context, f func(context.Context, *api.Client) error) error {
	client, err := u.Client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return f(ctx, client)
}

// push stages an OS file.
func (u *updating) push(ctx context.Context, f lab.OSFile) error {
	statement, err := u.developer.Sign(u.network, f, nil)
	if err != nil {
		return err
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	return u.pushAs(ctx, statement, file)
}

func (u *updating) pushAs(ctx context.Context, statement []byte, r io.Reader) error {
	return u.call(ctx, func(ctx context.Context, c *api.Client) error {
		_, err := c.PushUpdate(ctx, statement, r)
		return err
	})
}

func (u *updating) try(ctx context.Context) error {
	return u.call(ctx, func(ctx context.Context, c *api.Client) error { return c.TryUpdate(ctx) })
}

// pushAndTry stages an OS file and starts its trial.
func (u *updating) pushAndTry(t *testing.T, f lab.OSFile) {
	t.Helper()
	must(t, "push "+f.Version, u.push(within(t, u.patience/2), f))
	must(t, "try "+f.Version, u.try(within(t, time.Minute)))
}

// awaitVerdict waits until an update of a version has ended, the node is Ready and
// the workload is back.
func (u *updating) awaitVerdict(t *testing.T, version, phase string) *api.Status {
	t.Helper()
	status := u.verdict(t, version, phase)
	must(t, "workload", u.WaitWorkload(t.Context()))
	return status
}

// verdict waits until an update of a version has ended and the node is Ready.
func (u *updating) verdict(t *testing.T, version, phase string) *api.Status {
	t.Helper()
	status, err := u.WaitStatus(within(t, u.patience), "the verdict on "+version, func(s *api.Status) (bool, string) {
		v := lastVerdict(s)
		return v.Version == version && v.Phase == phase && s.Phase == lab.PhaseRunning && s.Kubernetes.NodeReady,
			fmt.Sprintf("version %s, phase %s, Kubernetes %+v, verdict %+v, update %+v, problems %q", s.Version, s.Phase, s.Kubernetes, v, s.Update, s.Problems)
	})
	must(t, "verdict", err)
	return status
}

func lastVerdict(s *api.Status) api.UpdateVerdict {
	if s.Update == nil || len(s.Update.Verdicts) == 0 {
		return api.UpdateVerdict{}
	}
	return s.Update.Verdicts[len(s.Update.Verdicts)-1]
}

// wantRunning checks which version runs, and that the firmware starts it by itself.
func (u *updating) wantRunning(t *testing.T, s *api.Status, version string) {
	t.Helper()
	if s.Version != version {
		t.Errorf("version %s runs, want %s", s.Version, version)
	}
	if s.Update == nil {
		t.Fatal("the node cannot be updated")
	}
	for _, slot := range s.Update.Slots {
		if slot.Running != slot.Default || slot.Running && (slot.Phase != "good" || slot.Version != version) {
			t.Errorf("slots %+v, want %s in the one that runs and is the default", s.Update.Slots, version)
		}
	}
}

// wantReason checks that the last verdict says why.
func wantReason(t *testing.T, s *api.Status, words ...string) {
	t.Helper()
	v := lastVerdict(s)
	for _, word := range words {
		if !strings.Contains(v.Reason, word) {
			t.Errorf("the verdict says %q; it should say %q", v.Reason, word)
		}
		if !strings.Contains(strings.Join(s.Problems, "\n"), word) {
			t.Errorf("the problems are %q; they should say %q", s.Problems, word)
		}
	}
	if v.Time.IsZero() {
		t.Error("the verdict has no time")
	}
}

// updates: what an update promises, on a running machine with a workload: it stays
// when it works, and the old system is back, with the reason, when it does not.
func (u *updating) updates(t *testing.T) {
	newer, err := u.suite.Newer(t.Context(), "1.1.0")
	must(t, "build a newer version", err)
	status, err := u.Status(t.Context())
	must(t, "status", err)
	u.begin(t, status)
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"refused", func(t *testing.T) { u.refused(t, newer) }},
		{"release server lies", func(t *testing.T) { u.liars(t, newer) }},
		{"kernel panics", u.kernelPanics},
		{"API never Ready", u.apiNeverReady},
		{"kept", func(t *testing.T) { u.kept(t, newer) }},
		{"rolled back", func(t *testing.T) { u.rolledBack(t, newer) }},
	} {
		ok := t.Run(test.name, func(t *testing.T) {
			defer u.suite.Times.Start(t)()
			defer recordOf(t, u.Machine)
			test.run(t)
		})
		if !ok {
			return // what comes after would only repeat the failure
		}
	}
}

// refused: what must not be installed is refused, each with its own reason, and
// leaves what runs alone.
func (u *updating) refused(t *testing.T, f lab.OSFile) {
	content, err := os.ReadFile(f.Path)
	must(t, "OS file", err)
	flipped := bytes.Clone(content)
	flipped[len(flipped)/2] ^= 1
	stranger := lab.NewDeveloper()
	for name, test := range map[string]struct {
		developer lab.Developer
		change    func(*identity.OSFile)
		content   []byte
		want      string
		err       error
	}{
		"somebody's key":      {stranger, nil, content, "update.developers", identity.ErrRole},
		"another network":     {u.developer, func(o *identity.OSFile) { o.Network[0] ^= 1 }, content, "network", identity.ErrWrongNetwork},
		"another board":       {u.developer, func(o *identity.OSFile) { o.Board = "toaster" }, content, "board", api.ErrInvalid},
		"an old statement":    {u.developer, func(o *identity.OSFile) { o.NotAfter = time.Now().Add(-time.Minute) }, content, "ended", identity.ErrExpired},
		"a flipped bit":       {u.developer, nil, flipped, "SHA-256", nil},
		"half a file":         {u.developer, nil, content[:len(content)/2], "", nil},
		"a file too large":    {u.developer, func(o *identity.OSFile) { o.Size = api.MaxOSFile + 1 }, nil, "fit", api.ErrInvalid},
		"an older version":    {u.developer, func(o *identity.OSFile) { o.Version = "0.0.0-1" }, content, "downgrade", api.ErrConflict},
		"a damaged statement": {u.developer, nil, nil, "", identity.ErrMalformed},
	} {
		statement, err := test.developer.Sign(u.network, f, test.change)
		must(t, name, err)
		if test.content == nil && test.change == nil {
			statement = statement[:len(statement)-1]
		}
		err = u.pushAs(within(t, 3*time.Minute), statement, bytes.NewReader(test.content))
		if err == nil || !strings.Contains(err.Error(), test.want) || test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%s: %v; want %v with %q", name, err, test.err, test.want)
		}
	}
	if err := u.try(within(t, time.Minute)); !errors.Is(err, api.ErrConflict) {
		t.Errorf("nothing is staged and was tried: %v", err)
	}
	status, err := u.Status(t.Context())
	must(t, "status", err)
	u.wantRunning(t, status, u.base)
}

// stage has the node fetch a version from the release server.
func (u *updating) stage(ctx context.Context, version string) error {
	return u.call(ctx, func(ctx context.Context, c *api.Client) error {
		_, err := c.StageUpdate(ctx, version, false)
		return err
	})
}

// liars: a release server that sends something else, dies, or is not there costs an
// error that says so; the right answers help at the next try.
func (u *updating) liars(t *testing.T, f lab.OSFile) {
	must(t, "publish", u.releases.Publish(t.Context(), f))
	for name, test := range map[string]struct {
		spoil func(w http.ResponseWriter, r *http.Request, serve http.Handler)
		want  string
	}{
		"not there": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			http.Error(w, "closed", http.StatusServiceUnavailable)
		}, "503"},
		"other metadata": {func(w http.ResponseWriter, r *http.Request, serve http.Handler) {
			if strings.Contains(r.URL.Path, "metadata/") {
				serve = flipping(serve)
			}
			serve.ServeHTTP(w, r)
		}, ""},
		"another index": {func(w http.ResponseWriter, r *http.Request, serve http.Handler) {
			if strings.HasSuffix(r.URL.Path, ".index") {
				serve = flipping(serve)
			}
			serve.ServeHTTP(w, r)
		}, "index"},
	} {
		u.releases.Spoil(test.spoil)
		err := u.stage(within(t, 3*time.Minute), f.Version)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want it to say %q", name, err, test.want)
		}
	}
	u.releases.Spoil(nil)
	if err := u.stage(within(t, time.Minute), "9.9.9"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("a version that is not there: %v", err)
	}
	status, err := u.Status(t.Context())
	must(t, "status", err)
	u.wantRunning(t, status, u.base)
	for _, slot := range status.Update.Slots {
		if slot.Phase == "staged" {
			t.Errorf("something is staged: %+v", slot)
		}
	}
}

// flipping flips a bit in the middle of each piece of an answer.
func flipping(serve http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve.ServeHTTP(flipper{w}, r) })
}

type flipper struct{ http.ResponseWriter }

func (f flipper) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b := bytes.Clone(p)
	b[len(b)/2] ^= 1
	return f.ResponseWriter.Write(b)
}

// variant makes a version of the OS file under test that is broken.
func (u *updating) variant(t *testing.T, version string, change func(*uki.Parts) error) lab.OSFile {
	t.Helper()
	f, err := u.suite.Variant(t.Context(), u.dir, version, change)
	must(t, "make version "+version, err)
	return f
}

// kernelPanics: a kernel without an init; it is started twice, because a power cut
// looks the same.
func (u *updating) kernelPanics(t *testing.T) {
	f := u.variant(t, "1.0.1", func(p *uki.Parts) error {
		p.CmdLine += " rdinit=/not-there panic=1"
		return nil
	})
	u.pushAndTry(t, f)
	status := u.awaitVerdict(t, f.Version, "bad")
	u.wantRunning(t, status, u.base)
	wantReason(t, status, "init never ran")
}

// apiNeverReady: Kubernetes does not start in the new version.
func (u *updating) apiNeverReady(t *testing.T) {
	f := u.variant(t, "1.0.2", func(p *uki.Parts) error {
		p.CmdLine += " cgroup_disable=memory"
		return nil
	})
	u.limitTrials(t, shortTrial)
	u.pushAndTry(t, f)
	// A second update has to wait for the verdict.
	_, err := u.WaitStatus(within(t, longTrial), "the trial", func(s *api.Status) (bool, string) {
		return s.Update != nil && s.Update.Trial != nil, s.Phase
	})
	must(t, "trial", err)
	if err := u.push(within(t, time.Minute), f); !errors.Is(err, api.ErrConflict) || !strings.Contains(err.Error(), "on trial") {
		t.Errorf("an update during a trial: %v", err)
	}
	status := u.awaitVerdict(t, f.Version, "bad")
	u.wantRunning(t, status, u.base)
	wantReason(t, status, "not Ready")
}

// kept: a newer build of the same source replaces the older one. What both have in
// common is not transferred, and a server that dies in between costs a second try.
func (u *updating) kept(t *testing.T, f lab.OSFile) {
	u.limitTrials(t, longTrial)
	u.releases.Sent()
	var requests atomic.Int32
	u.releases.Spoil(func(w http.ResponseWriter, r *http.Request, serve http.Handler) {
		if lab.IsOSFile(r) && requests.Add(1) == 1 {
			w = &dying{ResponseWriter: w, left: 256 << 10}
		}
		serve.ServeHTTP(w, r)
	})
	must(t, "stage", u.stage(within(t, 5*time.Minute), f.Version))
	sent := u.releases.Sent()
	u.suite.Times.Note(t, "a changed init: %d of %d bytes transferred, %.1f %%", sent, f.Size, 100*float64(sent)/float64(f.Size))
	if sent > f.Size/4 {
		t.Errorf("%d bytes of %d were transferred, want at most a quarter", sent, f.Size)
	}
	if requests.Load() < 2 {
		t.Error("the server did not die")
	}
	var status *api.Status
	gap := u.interruption(t, func() {
		must(t, "try", u.try(within(t, time.Minute)))
		status = u.awaitVerdict(t, f.Version, "good")
	})
	u.suite.Times.Note(t, "an update interrupts the workload for %.1f s", gap.Seconds())
	u.wantRunning(t, status, f.Version)
	if status.Update.Trial != nil || len(status.Problems) != 0 {
		t.Errorf("after the update: trial %+v, problems %q", status.Update.Trial, status.Problems)
	}
}

// dying sends a part of an answer and then cuts the connection.
type dying struct {
	http.ResponseWriter
	left int
}

func (d *dying) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return d.ResponseWriter.Write(p)
}

// rolledBack: the owner wants the old version back.
func (u *updating) rolledBack(t *testing.T, f lab.OSFile) {
	var status *api.Status
	gap := u.interruption(t, func() {
		must(t, "roll back", u.call(within(t, time.Minute), func(ctx context.Context, c *api.Client) error {
			return c.RollBackUpdate(ctx, "I liked the old one better")
		}))
		status = u.awaitVerdict(t, f.Version, "bad")
	})
	u.suite.Times.Note(t, "a rollback, which is a plain reboot, interrupts it for %.1f s", gap.Seconds())
	u.wantRunning(t, status, u.base)
	wantReason(t, status, "I liked the old one better")
	if err := u.push(within(t, 5*time.Minute), f); err != nil {
		t.Errorf("a developer pushes a version again that has failed: %v", err)
	}
}

// interruption is how long the workload did not answer while f ran: from its last
// answer before to its first one after.
func (u *updating) interruption(t *testing.T, f func()) time.Duration {
	t.Helper()
	port, ok := u.HostPort(qemu.DemoPort)
	if !ok {
		t.Fatal("the workload's port is not forwarded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	longest := make(chan time.Duration)
	go func() {
		last, most := time.Now(), time.Duration(0)
		for client := (&http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}); ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
			resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
			if err != nil {
				continue
			}
			if resp.Body.Close() == nil && resp.StatusCode == http.StatusOK {
				most, last = max(most, time.Since(last)), time.Now()
			}
		}
		longest <- most
	}()
	f()
	cancel()
	return <-longest
}
