package identity

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/durable"
)

// Every way in which a power cut or a bad medium can leave a state file is an
// error that says so; none is taken for a first start.
func TestDamagedStateIsNeverReset(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	_, err := i.Invite(Caps{Node: Agent}, 3, time.Hour)
	noErr(t, err)
	noErr(t, n.v.AddRotation(n.rotate(1, n.root, testKey("next"), day)))
	noErr(t, n.clock.Close())
	for name, open := range map[string]func(path string) error{
		"clock":  func(path string) error { _, err := OpenClock(path, t0, nil); return err },
		"trust":  func(path string) error { _, err := OpenVerifier(path, n.clock); return err },
		"ledger": func(path string) error { _, err := OpenIssuer(path, n.issuer, n.v); return err },
	} {
		t.Run(name, func(t *testing.T) {
			whole, err := os.ReadFile(filepath.Join(n.dir, name))
			noErr(t, err)
			path := filepath.Join(t.TempDir(), name)
			try := func(what string, data []byte, want error) {
				t.Helper()
				noErr(t, os.WriteFile(path, data, 0o600))
				if err := open(path); !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
				if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, data) {
					t.Errorf("%s: the file was changed", what)
				}
			}
			try("whole", whole, nil)
			const stride = 37 // the file system takes its time
			for end := 0; end < len(whole); end += stride {
				try("cut short", whole[:end], ErrState)
			}
			for at := 0; at < len(whole); at += stride {
				bad := bytes.Clone(whole)
				bad[at] ^= 0x10
				try("a bit flipped", bad, ErrState)
			}
			try("empty", nil, ErrState)
			try("one byte short", whole[:len(whole)-1], ErrState)
			try("zeros", make([]byte, len(whole)), ErrState)
			try("more", append(bytes.Clone(whole), 0), ErrState)
			for _, other := range []string{"clock", "trust", "ledger"} {
				data, err := os.ReadFile(filepath.Join(n.dir, other))
				noErr(t, err)
				if other != name {
					try("the "+other, data, ErrState)
				}
			}
		})
	}
}

// A power cut while a state file is written leaves the old one whole, whatever
// the unfinished file beside it holds.
func TestUnfinishedWriteIsIgnored(t *testing.T) {
	n := newNetwork(t, "a")
	noErr(t, n.clock.Observe(t0))
	noErr(t, os.WriteFile(durable.Temporary(filepath.Join(n.dir, "clock")), []byte("mycelium cl"), 0o600))
	c, err := OpenClock(filepath.Join(n.dir, "clock"), time.Time{}, func() time.Time { return time.Unix(0, 0) })
	noErr(t, err)
	if c.Now().Before(t0) {
		t.Errorf("the clock shows %s", utc(c.Now()))
	}
}

func TestStateFilesAreMadeOnce(t *testing.T) {
	n := newNetwork(t, "a")
	n.newIssuer()
	_, err := CreateVerifier(n.v.path, n.id, NetworkID{}, n.clock)
	wantErr(t, err, fs.ErrExist)
	_, err = CreateIssuer(filepath.Join(n.dir, "ledger"), n.issuer, sign(t, n.root, n.delegation()), n.v)
	wantErr(t, err, fs.ErrExist)
	_, err = OpenVerifier(filepath.Join(n.dir, "none"), n.clock)
	wantErr(t, err, fs.ErrNotExist)
	_, err = OpenIssuer(filepath.Join(n.dir, "none"), n.issuer, n.v)
	wantErr(t, err, fs.ErrNotExist)
	entries, err := os.ReadDir(n.dir)
	noErr(t, err)
	for _, e := range entries {
		fi, err := e.Info()
		noErr(t, err)
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", e.Name(), fi.Mode().Perm())
		}
	}
	if len(entries) != 3 {
		t.Errorf("%d files, want clock, ledger and trust", len(entries))
	}
}

// A member is let in although the floor that its certificate raises cannot be written.
func TestFullDiskLocksNobodyOut(t *testing.T) {
	n := newNetwork(t, "a")
	n.clock.path = filepath.Join(n.dir, "gone", "clock")
	_, err := n.v.Verify(n.credential(n.delegation(), n.certificate("operator")))
	noErr(t, err)
	wantErr(t, n.clock.Observe(t0), fs.ErrNotExist)
	n.now = time.Unix(0, 0)
	if n.clock.Now().Before(t0) {
		t.Errorf("the clock shows %s", utc(n.clock.Now()))
	}
}

// When a state file cannot be written, what it would have recorded has not happened.
func TestNothingHappensUnrecorded(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	token, err := i.Invite(Caps{Node: Agent}, 1, time.Hour)
	noErr(t, err)
	gone := filepath.Join(n.dir, "gone")
	noErr(t, os.Mkdir(gone, 0o700))
	i.path = filepath.Join(gone, "ledger")
	n.v.path = filepath.Join(gone, "trust")
	noErr(t, os.Remove(gone))
	req, err := token.Request(testKey("node-1"), [32]byte{1}, "node-1")
	noErr(t, err)
	if cred, err := i.Admit(req); !errors.Is(err, fs.ErrNotExist) || cred != nil {
		t.Errorf("admitted without a record: %v", err)
	}
	if i.led.Next != 100 || len(i.led.Invites[0].Admitted) != 0 {
		t.Error("the ledger in memory is ahead of the one on disk")
	}
	wantErr(t, n.v.AddRotation(n.rotate(1, n.root, testKey("next"), day)), fs.ErrNotExist)
	if rs, _ := n.v.Statements(); len(rs) != 0 {
		t.Error("the rotations in memory are ahead of those on disk")
	}
}
