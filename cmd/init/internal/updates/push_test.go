package updates

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/update"
)

// developer makes one whose OS files the node takes.
func (n *node) developer() identity.PrivateKey {
	key := identity.GenerateKey()
	n.config.Developers = append(n.config.Developers, key.Public().String())
	return key
}

// statement is what a developer says of a version.
func (n *node) statement(key identity.PrivateKey, version string, change func(*identity.OSFile)) []byte {
	n.t.Helper()
	content := osFile(version)
	s := identity.OSFile{
		Network: n.network, Key: key.Public(), Version: version, Board: board, Digest: sha256.Sum256(content), Size: uint64(len(content)),
		NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(&s)
	}
	signed, err := identity.Sign(key, s)
	noErr(n.t, err)
	return signed
}

func (n *node) push(key identity.PrivateKey, version string, content []byte) error {
	n.t.Helper()
	got, err := n.Push(n.t.Context(), n.statement(key, version, nil), bytes.NewReader(content))
	if err == nil && got != version {
		n.t.Errorf("pushed %q, want %q", got, version)
	}
	return err
}

func TestPushIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		stranger bool
		change   func(*identity.OSFile)
		spoil    func([]byte) []byte
		reason   error
		text     string
	}{
		"another network": {change: func(s *identity.OSFile) { s.Network[0]++ }, reason: identity.ErrWrongNetwork, text: "sign it for this one"},
		"a stranger":      {stranger: true, reason: identity.ErrRole, text: "update.developers"},
		"expired":         {change: func(s *identity.OSFile) { s.NotAfter = time.Now().Add(-time.Minute) }, reason: identity.ErrExpired, text: "sign it again"},
		"another board":   {change: func(s *identity.OSFile) { s.Board = "rpi4" }, reason: api.ErrInvalid, text: "rpi4"},
		"too large":       {change: func(s *identity.OSFile) { s.Size = api.MaxOSFile + 1 }, reason: api.ErrInvalid, text: "fit a slot"},
		"no statement":    {spoil: func([]byte) []byte { return []byte("push it") }, reason: identity.ErrMalformed},
		"half of one":     {spoil: func(b []byte) []byte { return b[:len(b)/2] }, reason: identity.ErrMalformed},
		"a flipped bit":   {spoil: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, reason: identity.ErrSignature},
		"a downgrade":     {change: func(s *identity.OSFile) { s.Version = "0.9.0" }, reason: api.ErrConflict, text: "older than 1.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, func(t *testing.T, n *node) {
				key := n.developer()
				if tt.stranger {
					key = identity.GenerateKey()
				}
				statement := n.statement(key, "1.1.0", tt.change)
				if tt.spoil != nil {
					statement = tt.spoil(statement)
				}
				r := &readCounter{r: bytes.NewReader(osFile("1.1.0"))}
				_, err := n.Push(t.Context(), statement, r)
				wantErr(t, err, tt.reason, tt.text)
				if r.n != 0 {
					t.Errorf("%d bytes of a file that is refused are read", r.n)
				}
				n.intact()
			})
		})
	}
}

type readCounter struct {
	r io.Reader
	n int
}

func (c *readCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// What comes otherwise than it was promised leaves the idle slot empty and the one
// that runs alone, and what comes right then is taken.
func TestPushOfDamage(t *testing.T) {
	right := osFile("1.1.0")
	flipped := bytes.Clone(right)
	flipped[len(flipped)-1] ^= 1
	for name, tt := range map[string]struct {
		r    io.Reader
		text string
	}{
		"truncated":     {bytes.NewReader(right[:len(right)-1]), "not what was promised"},
		"empty":         {bytes.NewReader(nil), "not what was promised"},
		"a flipped bit": {bytes.NewReader(flipped), "not what was promised"},
		"an end":        {io.MultiReader(bytes.NewReader(right[:1000]), iotest.ErrReader(errBroken)), errBroken.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, func(t *testing.T, n *node) {
				key := n.developer()
				_, err := n.Push(t.Context(), n.statement(key, "1.1.0", nil), tt.r)
				wantErr(t, err, nil, tt.text)
				n.intact()
				if n.status.Failure != "1.1.0: "+err.Error() {
					t.Errorf("the status says %q", n.status.Failure)
				}
				noErr(t, n.push(key, "1.1.0", right))
				n.holds("B", update.Staged, "1.1.0")
				if n.status.Failure != "" {
					t.Errorf("the status still says %q", n.status.Failure)
				}
			})
		})
	}
}

func TestPush(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		key := n.developer()
		n.reports = nil
		noErr(t, n.push(key, "1.1.0", osFile("1.1.0")))
		n.holds("B", update.Staged, "1.1.0")
		n.holds("A", update.Good, "1.0.0")
		if !bytes.Equal(n.slots["B"].content, osFile("1.1.0")) {
			t.Error("the slot has other bytes")
		}
		stages, most := "", uint64(0)
		for _, r := range n.reports {
			if a := r.Activity; a != nil {
				if most > a.Peers || a.Peers > a.Total {
					t.Errorf("%d of %d bytes after %d", a.Peers, a.Total, most)
				}
				if most = a.Peers; len(stages) < len(a.Stage) || stages[len(stages)-len(a.Stage):] != a.Stage {
					stages += " " + a.Stage
				}
			}
		}
		if stages != " writing verifying" || most != uint64(len(osFile("1.1.0"))) {
			t.Errorf("the status went through%s, to %d bytes", stages, most)
		}
		// A downgrade that the developer means.
		old := n.statement(key, "0.9.0", func(s *identity.OSFile) { s.Downgrade = true })
		if _, err := n.Push(t.Context(), old, bytes.NewReader(osFile("0.9.0"))); err != nil {
			t.Error(err)
		}
		n.holds("B", update.Staged, "0.9.0")
	})
}

// A developer need not force what has failed before.
func TestPushOfTheSameVersionAgain(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		key := n.developer()
		for range 2 {
			noErr(t, n.push(key, "1.1.0", osFile("1.1.0")))
			noErr(t, n.Try(t.Context()))
			n.boot()
			noErr(t, n.RollBack("it is slow"))
			n.boot()
			n.holds("B", update.Bad, "1.1.0")
		}
	})
}

func TestPushesAtOnce(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.2.0", nil)
		key := n.developer()
		r, w := io.Pipe()
		done := make(chan error)
		go func() {
			_, err := n.Push(t.Context(), n.statement(key, "1.1.0", nil), r)
			done <- err
		}()
		synctest.Wait()
		wantErr(t, n.push(key, "1.2.0", osFile("1.2.0")), api.ErrConflict, "another update is being staged")
		_, err := n.Stage(t.Context(), "", false)
		wantErr(t, err, api.ErrConflict, "another update")
		wantErr(t, n.Try(t.Context()), api.ErrConflict, "another update")
		wantErr(t, n.RollBack(""), api.ErrConflict, "another update")
		n.Leave("a reboot") // does not wait
		if f, state, err := n.File(digestOf(osFile("1.0.0"))); err != nil || f == nil {
			t.Errorf("members do not get what runs: %v %v", state, err)
		}
		noErr(t, n.Hold(true, "")) // what an owner says is seen at once
		if !n.status.Hold {
			t.Error("the hold is not shown")
		}
		_, err = w.Write(osFile("1.1.0"))
		noErr(t, err)
		noErr(t, <-done)
		n.holds("B", update.Staged, "1.1.0")
	})
}

func TestUpdateDuringATrial(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		n.server.add("1.2.0", nil)
		key := n.developer()
		n.tryOut("1.1.0")
		wantErr(t, n.push(key, "1.2.0", osFile("1.2.0")), api.ErrConflict, "on trial")
		n.server.took()
		_, err := n.Stage(t.Context(), "1.2.0", false)
		wantErr(t, err, api.ErrConflict, "on trial")
		if got := n.server.took(); len(got) != 1 {
			t.Errorf("it is fetched all the same: %v", got)
		}
		before := n.factsKept()
		n.facts = nil // are not asked for
		wantErr(t, n.Try(t.Context()), api.ErrConflict, "on trial")
		if n.factsKept() != before {
			t.Error("what the trial is judged by was replaced")
		}
		n.holds("B", update.Trial, "1.1.0")
		if n.reboots != 0 {
			t.Error("a reboot")
		}
	})
}

func TestPushThatIsGivenUp(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		ctx, cancel := context.WithCancel(t.Context())
		key := n.developer()
		_, err := n.Push(ctx, n.statement(key, "1.1.0", nil), io.MultiReader(bytes.NewReader(osFile("1.1.0")[:100]), readerFunc(func(p []byte) (int, error) {
			cancel()
			return 1, nil
		})))
		wantErr(t, err, context.Canceled, "")
		n.intact()
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestPushOfTheUnsigned: what a firmware with Secure Boot on would not start is refused
// with the reason, and what runs stays.
func TestPushOfTheUnsigned(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.startable = func(io.ReaderAt, int64) error { return errors.New("untrusted: Secure Boot is on") }
		key := n.developer()
		err := n.push(key, "1.1.0", osFile("1.1.0"))
		wantErr(t, err, api.ErrConflict, "the firmware would not start it: untrusted: Secure Boot is on")
		wantErr(t, n.Try(t.Context()), api.ErrConflict, "install a release first")
		if n.firmware.once != "" {
			t.Errorf("the firmware was asked for slot %s", n.firmware.once)
		}
		n.startable = nil
		noErr(t, n.push(key, "1.1.0", osFile("1.1.0")))
	})
}
