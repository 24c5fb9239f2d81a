package updates

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

func (n *node) stageErr(version string, force bool, reason error, text string) {
	n.t.Helper()
	_, err := n.Stage(n.t.Context(), version, force)
	wantErr(n.t, err, reason, text)
	if err != nil && !strings.Contains(n.status.Failure, text) {
		n.t.Errorf("the status says %q", n.status.Failure)
	}
}

func (n *node) mustStage(version, want string) {
	n.t.Helper()
	got, err := n.Stage(n.t.Context(), version, false)
	noErr(n.t, err)
	if got != want {
		n.t.Errorf("staged %s, want %s", got, want)
	}
	n.holds("B", update.Staged, want)
	if !bytes.Equal(n.slots["B"].content, osFile(want)) {
		n.t.Errorf("the slot does not hold %s", want)
	}
	if n.status.Failure != "" {
		n.t.Errorf("the status says %q", n.status.Failure)
	}
}

func TestStage(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		n.reports = nil
		n.mustStage("", "1.1.0")
		n.holds("A", update.Good, "1.0.0")
		var last api.UpdateActivity
		var stages []string
		for _, r := range n.reports {
			if r.Activity != nil {
				last = *r.Activity
				stages = append(stages, last.Stage)
			}
		}
		// Only the chunk with the version is another one.
		if total := uint64(len(osFile("1.1.0"))); last.Total != total || last.Local+last.Server != total || last.Peers != 0 || last.Server == 0 || last.Server > total/2 {
			t.Errorf("of %d bytes %d were here and %d came from the server", last.Total, last.Local, last.Server)
		}
		if want := []string{api.UpdateChecking, api.UpdateFetching, api.UpdateWriting, api.UpdateVerifying}; !slices.Equal(slices.Compact(stages), want) {
			t.Errorf("stages %q", slices.Compact(stages))
		}
		if n.events[len(n.events)-1] != "1.1.0 is staged" {
			t.Errorf("events %q", n.events)
		}
		if left, _ := filepath.Glob(filepath.Join(n.dir, "work", "fetch", "*")); left != nil {
			t.Errorf("%q are left on DATA", left)
		}

		n.server.took()
		n.mustStage("", "1.1.0") // it is there
		if got := n.server.took(); !slices.Equal(got, []string{"/metadata/timestamp.json"}) || n.slots["B"].writes != 1 {
			t.Errorf("it is fetched again: %v", got)
		}
	})
}

func TestStageChooses(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.stageErr("", false, api.ErrNotFound, "the channel stable offers this node nothing")
		if strings.HasPrefix(n.status.Failure, ":") {
			t.Errorf("%q", n.status.Failure)
		}
		n.server.add("1.1.0", nil)
		n.server.add("1.2.0", func(a *release.Attributes) {
			a.Waves = []release.Wave{{Percent: 100, After: release.Duration(time.Hour)}}
		})
		n.server.add("1.3.0", func(a *release.Attributes) { a.Channels = []string{"edge"} })
		n.server.add("1.4.0", func(a *release.Attributes) { a.Board = "rpi4" })
		n.mustStage("", "1.1.0")
		n.stageErr("1.4.0", false, api.ErrNotFound, "has no version 1.4.0 for x86")
		list, err := n.Check(t.Context())
		noErr(t, err)
		due := ""
		for _, r := range list {
			if due += " " + r.Version; r.Due {
				due += "!"
			}
		}
		if due != " 1.3.0 1.2.0 1.1.0!" || n.status.Available != "1.1.0" || list[2].Size != uint64(len(osFile("1.1.0"))) {
			t.Errorf("offered%s, available %q", due, n.status.Available)
		}
		n.mustStage("1.3.0", "1.3.0") // by name
		time.Sleep(time.Hour)
		n.mustStage("", "1.2.0")
		n.config.Channel = "edge"
		n.mustStage("", "1.3.0")
		if n.status.Channel != "edge" {
			t.Errorf("channel %q", n.status.Channel)
		}
	})
}

func TestStageOfWhatRuns(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.0.0", nil) // the machine was flashed with it: its journal knows no digest
		n.stageErr("", false, api.ErrConflict, "1.0.0 runs already")
		n.server.add("1.1.0", nil)
		n.update("1.1.0")
		n.stageErr("", true, api.ErrConflict, "1.1.0 runs already")
	})
}

func TestStageOfADowngrade(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("0.9.0", nil)
		n.stageErr("0.9.0", true, api.ErrConflict, "older than 1.0.0")
		if got := n.server.took(); slices.ContainsFunc(got, func(p string) bool { return strings.HasPrefix(p, "/targets/") }) {
			t.Errorf("it is fetched all the same: %v", got)
		}
		n.intact()
		n.server.add("0.9.0", func(a *release.Attributes) { a.Downgrade = true })
		n.mustStage("0.9.0", "0.9.0")
	})
}

// A bit that is flipped in any file of the server is seen, nothing is staged, and the
// right file is taken afterwards.
func TestStageOfDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		path, text string
	}{
		"the OS file":   {digestOf(osFile("1.1.0")), "wrong bytes"},
		"the index":     {".os.efi.index", release.ErrTampered.Error()},
		"the root":      {"1.root.json", release.ErrRoot.Error()},
		"the timestamp": {"timestamp.json", "timestamp.json"},
		"the snapshot":  {"snapshot.json", "snapshot.json"},
		"the targets":   {"targets.json", "targets.json"},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, func(t *testing.T, n *node) {
				n.server.add("1.1.0", nil)
				n.server.flip(tt.path)
				n.stageErr("", false, nil, tt.text)
				n.intact()
				n.server.spoil = nil
				n.mustStage("", "1.1.0")
			})
		})
	}
}

// osPath is where the server has the OS file of a version.
func (n *node) osPath(version string) string {
	return release.TargetPath(release.Attributes{Board: board, Version: version}.OSTarget(), digestOf(osFile(version)))
}

func TestStageOfABadIndex(t *testing.T) {
	for name, tt := range map[string]struct {
		index []byte
		text  string
	}{
		"none that is one": {[]byte("an index"), "this is no index"},
		"another file's": {func() []byte {
			x, err := delta.Make(bytes.NewReader(osFile("1.2.0")))
			noErr(t, err)
			return x.Encode()
		}(), "publish the release anew"},
		"none": {nil, "released without"},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, func(t *testing.T, n *node) {
				n.server.addIndexed("1.1.0", nil, tt.index)
				n.stageErr("1.1.0", false, nil, tt.text)
				n.intact()
			})
		})
	}
}

// cutOff ends the answers with a file after some bytes in all.
func (s *releaseServer) cutOff(path string, left int64) {
	broken := readerFunc(func([]byte) (int, error) { return 0, errBroken })
	s.spoil = func(p string, resp *http.Response) {
		if strings.HasSuffix(p, path) {
			resp.Body = io.NopCloser(io.MultiReader(io.LimitReader(resp.Body, left), broken))
			left = 0
		}
	}
}

func TestServerThatDies(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		noErr(t, os.WriteFile(filepath.Join(n.dir, "running"), []byte("nothing in common"), 0o600))
		n.server.add("1.1.0", nil)
		n.server.cutOff(n.osPath("1.1.0"), 150<<10)
		n.stageErr("", false, errBroken, "are missing")
		n.intact()
		n.server.spoil = nil
		n.reports = nil
		n.mustStage("", "1.1.0")
		resumed, fetched := uint64(0), uint64(0)
		for _, r := range n.reports {
			if a := r.Activity; a != nil && a.Stage == api.UpdateFetching {
				resumed, fetched = a.Local, a.Server
			}
		}
		if total := uint64(len(osFile("1.1.0"))); resumed == 0 || resumed+fetched != total {
			t.Errorf("%d bytes were there, %d of %d came anew", resumed, fetched, total)
		}
	})
}

// A server that fails for a while in the middle costs time and nothing else.
func TestServerThatComesBack(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		noErr(t, os.WriteFile(filepath.Join(n.dir, "running"), []byte("nothing in common"), 0o600))
		n.server.add("1.1.0", nil)
		n.server.cutOff(n.osPath("1.1.0"), 100<<10)
		time.AfterFunc(2*time.Second, func() {
			n.server.mu.Lock()
			defer n.server.mu.Unlock()
			n.server.spoil = nil
		})
		n.mustStage("", "1.1.0")
	})
}

func TestServerThatIsDown(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		_, err := n.Check(t.Context())
		noErr(t, err)
		checked := n.status.Checked
		time.Sleep(time.Hour)
		n.server.down = errBroken
		_, err = n.Check(t.Context())
		wantErr(t, err, errBroken, "refresh the releases")
		n.stageErr("", false, errBroken, "refresh the releases")
		n.intact()
		if s := n.status; s.Available != "1.1.0" || s.Checked != checked || !strings.Contains(s.CheckError, errBroken.Error()) {
			t.Errorf("the status says %q available, asked at %s, %q", s.Available, s.Checked, s.CheckError)
		}
		n.boot() // what was known is known
		_, err = n.Check(t.Context())
		wantErr(t, err, errBroken, "")
		if n.status.Available != "1.1.0" {
			t.Errorf("available %q after a reboot", n.status.Available)
		}
		n.server.down = nil
		n.mustStage("", "1.1.0")
		if n.status.CheckError != "" || !n.status.Checked.After(checked) {
			t.Errorf("asked at %s, %q", n.status.Checked, n.status.CheckError)
		}
	})
}

func TestStageWithoutAServer(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		_, err := n.Check(t.Context())
		noErr(t, err)
		n.config = config.Update{}
		n.stageErr("", false, api.ErrConflict, "no release server is configured")
		if s := n.status; s.Available != "" || !s.Checked.IsZero() || s.CheckError != "" || s.Server != "" || s.Channel != "" {
			t.Errorf("what the old server said stays: %+v", s)
		}
		n.config = config.Update{Server: "http://releases", Root: "sha256:12"}
		_, err = n.Check(t.Context())
		wantErr(t, err, release.ErrMalformed, "")
		if !strings.Contains(n.status.CheckError, "want \"sha256:\"") {
			t.Errorf("the status says %q", n.status.CheckError)
		}
	})
}

// Another repository is trusted by its own root alone.
func TestAnotherServer(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		n.mustStage("", "1.1.0")
		other, err := createServer(filepath.Join(t.TempDir(), "repo"))
		noErr(t, err)
		other.t = t
		other.add("1.2.0", nil)
		n.o.Servers.Transport = other
		n.config.Server = "http://other/"
		n.stageErr("", false, nil, "metadata")
		n.config.Root = other.repo.Digest()
		n.mustStage("", "1.2.0")
	})
}

// What stands in the way on DATA or STATE is named, and nothing is staged.
func TestNoPlaceToWork(t *testing.T) {
	for name, tt := range map[string]struct{ path, text string }{
		"DATA":  {"work", "begin to fetch"},
		"STATE": {"state/" + releasesDir, "keep the releases' metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, func(t *testing.T, n *node) {
				n.server.add("1.1.0", nil)
				path := filepath.Join(n.dir, tt.path)
				noErr(t, os.WriteFile(path, nil, 0o600))
				n.stageErr("", false, nil, tt.text)
				n.intact()
				noErr(t, os.Remove(path))
				n.mustStage("", "1.1.0")
			})
		})
	}
}

// A slot that cannot be written keeps what was fetched for the next try.
func TestSlotThatFails(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		n.slots["B"].writeErr = errBroken
		n.stageErr("", false, errBroken, "write 1.1.0 to slot B")
		n.intact()
		n.slots["B"].writeErr = nil
		n.server.took()
		n.mustStage("", "1.1.0")
		if got := n.server.took(); slices.ContainsFunc(got, func(p string) bool { return strings.HasSuffix(p, n.osPath("1.1.0")) }) {
			t.Errorf("it is fetched again: %v", got)
		}
	})
}

func TestStageThatIsGivenUp(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		ctx, cancel := context.WithCancel(t.Context())
		n.server.spoil = func(path string, _ *http.Response) {
			if strings.HasSuffix(path, n.osPath("1.1.0")) {
				cancel()
			}
		}
		if _, err := n.Stage(ctx, "", false); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		n.intact()
	})
}

// memberOf is a node as the others see it.
func memberOf(n *node) Member {
	return Member{Name: "peer", Key: n.key.Public(), URL: "https://peer", Reached: true, Client: &http.Client{Transport: handler{delta.Handler(
		func(digest string) (io.ReadSeekCloser, time.Time, delta.PeerState, error) {
			file, state, err := n.File(digest)
			return file, time.Time{}, state, err
		},
	)}}}
}

// What a member has does not come from the server. One that is off is not asked.
func TestStageFromAMember(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		n.mustStage("", "1.1.0")
		other := newNode(t, n.server)
		other.boot()
		off := Member{Name: "off", URL: "https://off", Client: &http.Client{Transport: handler{}}} // panics if it is asked
		other.members = []Member{off, memberOf(n)}
		n.server.took()
		other.mustStage("", "1.1.0")
		if got := n.server.took(); slices.ContainsFunc(got, func(p string) bool { return strings.HasSuffix(p, n.osPath("1.1.0")) }) {
			t.Errorf("the server is asked for the OS file: %v", got)
		}
	})
}
