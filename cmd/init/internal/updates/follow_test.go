package updates

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/gate"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/update"
)

// following runs a node in automatic mode that knows its server, which has 1.1.0.
func following(t *testing.T, f func(t *testing.T, n *node)) {
	t.Helper()
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		_, err := n.Check(t.Context())
		noErr(t, err)
		n.server.took()
		n.config.Automatic = true
		f(t, n)
	})
}

const asked = "/metadata/timestamp.json"

// Without anything new, a poll is one request, and there are as many as were asked for.
func TestPolls(t *testing.T) {
	following(t, func(t *testing.T, n *node) {
		n.config.Automatic, n.config.Interval = false, "1h"
		n.run()
		n.after(10 * 24 * time.Hour)
		got := n.server.took()
		if len(got) < 24*10*4/5-1 || len(got) > 24*10*4/3+1 {
			t.Errorf("%d requests in ten days", len(got))
		}
		if slices.ContainsFunc(got, func(path string) bool { return path != asked }) {
			t.Errorf("requests %v", slices.Compact(slices.Sorted(slices.Values(got))))
		}
		n.intact()
		if n.status.Available != "1.1.0" {
			t.Errorf("available %q", n.status.Available)
		}
	})
}

func TestNothingToFollow(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.config = config.Update{Automatic: true}
		stop := n.run()
		n.reports = nil
		n.after(7 * 24 * time.Hour) // it does not spin: time would not pass
		stop()
		if len(n.server.took()) != 0 || len(n.reports) != 0 {
			t.Error("a node without a release server does something")
		}
	})
}

func TestWake(t *testing.T) {
	following(t, func(t *testing.T, n *node) {
		server := n.config.Server
		n.config.Server, n.config.Automatic = "", false
		n.run()
		n.Wake()
		n.Wake() // a second one does not block
		n.after(time.Second)
		if got := n.server.took(); len(got) != 0 {
			t.Errorf("%v", got)
		}
		n.config.Server = server
		n.Wake()
		n.after(time.Second)
		if got := n.server.took(); !slices.Equal(got, []string{asked}) || n.status.Server != server {
			t.Errorf("requests %v, server %q", got, n.status.Server)
		}
	})
}

// A node in automatic mode updates when nothing stands against it, once.
func TestAutomatic(t *testing.T) {
	following(t, func(t *testing.T, n *node) {
		stop := n.run()
		n.after(advancePause)
		n.isIn("B", update.Trial)
		if n.reboots != 1 || n.firmware.once != "B" {
			t.Fatalf("%d reboots, once %q", n.reboots, n.firmware.once)
		}
		n.after(20 * time.Minute) // a shutdown takes its time
		if n.reboots != 1 || n.slots["B"].writes != 1 {
			t.Errorf("%d reboots, written %d times", n.reboots, n.slots["B"].writes)
		}
		stop()
		n.boot()
		n.run()
		n.after(time.Minute)
		n.holds("B", update.Good, "1.1.0")
		n.after(7 * 24 * time.Hour)
		if n.reboots != 1 || n.slots["A"].writes != 0 {
			t.Errorf("%d reboots, the other slot was written %d times", n.reboots, n.slots["A"].writes)
		}
	})
}

// isIn checks the phase of a slot while something is under way.
func (n *node) isIn(name string, phase update.Phase) {
	n.t.Helper()
	if got := n.updater.State().Slot(name); got.Phase != phase {
		n.t.Errorf("slot %s is %s, want %s", name, got.Phase, phase)
	}
}

// first is a member that is before all others, and gives no OS file.
func first(version string) Member {
	return Member{Name: "first", Version: version, Reached: true, URL: "https://first", Client: &http.Client{Transport: handler{http.NotFoundHandler()}}}
}

// Whatever stands against an update, nothing is fetched; when it is gone, it begins.
func TestAutomaticWaits(t *testing.T) {
	for name, tt := range map[string]struct {
		before, end func(n *node)
		wait        time.Duration // after end
	}{
		"held": {
			before: func(n *node) { noErr(n.t, n.Hold(true, "exams")) },
			end:    func(n *node) { noErr(n.t, n.Hold(false, "")) },
		},
		"outside the window": {
			before: func(n *node) { n.config.Window = config.Window{From: "22:00", To: "23:00"} },
			wait:   22 * time.Hour,
		},
		"not due": {
			before: func(n *node) {
				n.server.add("1.1.0", func(a *release.Attributes) {
					a.Waves = []release.Wave{{Percent: 100, After: release.Duration(10 * time.Hour)}}
				})
				_, err := n.Check(n.t.Context())
				noErr(n.t, err)
			},
			wait: 10 * time.Hour,
		},
		"another channel": {
			before: func(n *node) { n.config.Channel = "edge" },
			end:    func(n *node) { n.config.Channel = "" },
		},
		"refused": {
			before: func(n *node) {
				n.tryOut("1.1.0")
				noErr(n.t, n.RollBack("it is slow"))
				n.boot()
				n.reboots = 0
			},
			end: func(n *node) { noErr(n.t, n.Forgive("1.1.0")) },
		},
		"not newer": {
			before: func(n *node) {
				noErr(n.t, n.server.repo.Withdraw(board, "1.1.0"))
				n.server.add("0.9.0", nil)
				_, err := n.Check(n.t.Context())
				noErr(n.t, err)
			},
			end:  func(n *node) { n.server.add("1.1.0", nil) },
			wait: 2 * config.DefaultInterval,
		},
		"another's turn": {
			before: func(n *node) { n.members = []Member{first("1.0.0")} },
			end:    func(n *node) { n.members[0].Version = "1.1.0" },
		},
		"not automatic": {
			before: func(n *node) { n.config.Automatic = false },
			end:    func(n *node) { n.config.Automatic = true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			following(t, func(t *testing.T, n *node) {
				tt.before(n)
				n.server.took()
				writes := n.slots["B"].writes
				n.run()
				n.after(9 * time.Hour)
				for _, path := range n.server.took() {
					if strings.HasPrefix(path, "/targets/") {
						t.Errorf("%s is fetched", path)
					}
				}
				if n.slots["B"].writes != writes || n.reboots != 0 || n.status.Failure != "" {
					t.Errorf("written %d times, %d reboots, %q", n.slots["B"].writes-writes, n.reboots, n.status.Failure)
				}
				if tt.end != nil {
					tt.end(n)
				}
				n.after(tt.wait + 2*advancePause)
				n.isIn("B", update.Trial)
				if n.reboots != 1 {
					t.Errorf("%d reboots", n.reboots)
				}
			})
		})
	}
}

// A release that cannot be taken costs the server what a poll may, not what a minute may.
func TestAutomaticThatFails(t *testing.T) {
	for name, fault := range map[string]func(n *node, broken bool){
		"the OS file": func(n *node, broken bool) {
			if n.server.flip(digestOf(osFile("1.1.0"))); !broken {
				n.server.spoil = nil
			}
		},
		"the firmware": func(n *node, broken bool) {
			if n.firmware.tryErr = nil; broken {
				n.firmware.tryErr = errBroken
			}
		},
		"the work directory": func(n *node, broken bool) {
			if path := n.dir + "/work"; broken {
				noErr(n.t, os.WriteFile(path, nil, 0o600))
			} else {
				noErr(n.t, os.Remove(path))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			following(t, func(t *testing.T, n *node) {
				fault(n, true)
				n.run()
				n.after(24 * time.Hour)
				if got := n.server.took(); len(got) > 5*16 { // a poll, a refresh, the index, the OS file
					t.Errorf("%d requests in a day", len(got))
				}
				if !strings.HasPrefix(n.status.Failure, "1.1.0: ") || n.reboots != 0 {
					t.Errorf("%q, %d reboots", n.status.Failure, n.reboots)
				}
				fault(n, false)
				n.after(2 * config.DefaultInterval)
				n.isIn("B", update.Trial)
			})
		})
	}
}

// A release that the firmware would not start costs one writing of the slot, not one at
// each poll; the next release is taken.
func TestAutomaticUnsigned(t *testing.T) {
	following(t, func(t *testing.T, n *node) {
		n.startable = func(io.ReaderAt, int64) error { return errors.New("no signature that db knows") }
		n.run()
		n.after(7 * 24 * time.Hour)
		if n.slots["B"].writes != 1 || n.reboots != 0 || !strings.Contains(n.status.Failure, "no signature that db knows") {
			t.Errorf("written %d times, %d reboots, %q", n.slots["B"].writes, n.reboots, n.status.Failure)
		}
		n.startable = nil
		n.server.add("1.2.0", nil)
		n.after(2 * config.DefaultInterval)
		n.isIn("B", update.Trial)
	})
}

// A release that goes down is taken by one node after the other too.
func TestTurnOnTheWayDown(t *testing.T) {
	self := member(5, "1.2.0", nil)
	for name, tt := range map[string]struct {
		others []Member
		want   string
	}{
		"alone":                       {nil, ""},
		"behind one":                  {[]Member{member(4, "1.2.0", nil)}, "node-4"},
		"behind one that has it":      {[]Member{member(4, "1.1.0", nil)}, ""},
		"behind one that is lower":    {[]Member{member(4, "1.0.0", nil)}, ""},
		"behind one of no version":    {[]Member{member(4, "", nil)}, "node-4"},
		"before one":                  {[]Member{member(6, "1.2.0", nil)}, ""},
		"behind a server that has it": {[]Member{member(6, "1.1.0", server)}, ""},
		"behind a server":             {[]Member{member(6, "1.2.0", server)}, "node-6"},
	} {
		if got := turn(self, tt.others, "1.1.0"); got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: waits for %q, want %q", name, got, tt.want)
		}
	}
}

// A withdrawn release is left by itself where the owner has signed that.
func TestAutomaticDowngrade(t *testing.T) {
	following(t, func(t *testing.T, n *node) {
		n.update("1.1.0")
		noErr(t, n.server.repo.Withdraw(board, "1.1.0"))
		n.server.add("1.0.0", func(a *release.Attributes) { a.Downgrade = true })
		n.members = []Member{first("1.1.0")}
		n.run()
		n.after(2 * config.DefaultInterval)
		n.isIn("A", update.Good)
		n.members[0].Version = "1.0.0"
		n.after(advancePause)
		n.isIn("A", update.Trial)
		n.boot()
		n.facts = func() gate.Facts { return gate.Facts{Member: true, API: true} }
		n.judge(t.Context())
		n.holds("A", update.Good, "1.0.0")
	})
}
