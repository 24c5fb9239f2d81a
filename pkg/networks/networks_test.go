package networks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
)

// newStore returns an empty store and the identity that its root keys are for.
func newStore(t *testing.T) (*Store, *age.X25519Identity) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	noErr(t, err)
	return &Store{Dir: filepath.Join(t.TempDir(), "networks")}, id
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, s *Store, name string, id *age.X25519Identity) {
	t.Helper()
	noErr(t, s.Create(t.Context(), name, CreateOptions{Root: []age.Recipient{id.Recipient()}, Operator: "ann"}))
}

func open(t *testing.T, s *Store, name string) *Network {
	t.Helper()
	n, err := s.Open(t.Context(), name)
	noErr(t, err)
	return n
}

// Of many that create the same network one wins, and nothing else is left.
func TestConcurrentCreates(t *testing.T) {
	s, id := newStore(t)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			one := &Store{Dir: s.Dir}
			errs[i] = one.Create(t.Context(), fmt.Sprintf("n%d", i%2), CreateOptions{Root: []age.Recipient{id.Recipient()}, Operator: "ann"})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil || won != 2 || len(entries) != 3 { // n0, n1, .lock
		t.Errorf("%d creates won, %v, %v", won, entries, err)
	}
	for _, name := range []string{"n0", "n1"} {
		open(t, s, name).Close()
	}
}

// Programs that use a network wait for each other: no invite, no serial number is lost.
func TestConcurrentUse(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			n, err := (&Store{Dir: s.Dir}).Open(t.Context(), "home")
			if err != nil {
				t.Error(err)
				return
			}
			defer n.Close()
			if _, err := n.Certify(identity.GenerateKey().Public(), "x", identity.Reader); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := open(t, s, "home")
	if left := n.Issuer.Left(); left != DefaultQuota-9 {
		t.Errorf("%d certificates left", left)
	}
	// who waits for a network that is deleted meanwhile learns that it is gone
	waits := make(chan error, 1)
	go func() {
		n, err := s.Open(t.Context(), "home")
		if err == nil {
			n.Close()
		}
		waits <- err
	}()
	deletes := make(chan error, 1)
	go func() { deletes <- s.Delete(t.Context(), "home") }()
	time.Sleep(50 * time.Millisecond) // either may be first
	n.Close()
	noErr(t, <-deletes)
	if err := <-waits; err != nil && !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// What a power cut leaves of a create or a delete is no network, and goes away.
func TestInterruptedChanges(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	for _, name := range []string{building + "1", deleted + "old"} {
		noErr(t, os.CopyFS(filepath.Join(s.Dir, name), os.DirFS(filepath.Join(s.Dir, "home"))))
	}
	names, err := s.List()
	if err != nil || len(names) != 1 {
		t.Errorf("listed %v, %v", names, err)
	}
	err = s.build(t.Context(), "half", func(dir string) error {
		noErr(t, durable.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
		return errors.New("no space")
	})
	if err == nil {
		t.Error("built without its files")
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil || len(entries) != 2 { // home, .lock
		t.Errorf("left are %v, %v", entries, err)
	}
	// of a grant
	noErr(t, os.Mkdir(filepath.Join(s.Dir, "home", granting+"1"), 0o700))
	open(t, s, "home").Close()
	if left, err := filepath.Glob(filepath.Join(s.Dir, "home", granting+"*")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// A rotation that is cut off at any step leaves a network that works, and can be
// done again or completed.
func TestInterruptedRotation(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	fresh, kept := filepath.Join(s.Dir, "home", "root-2.new.age"), filepath.Join(s.Dir, "home", "root-2.age")

	// the new key is written, but not announced
	noErr(t, identity.WriteKey(fresh, identity.GenerateKey(), id.Recipient()))
	n := open(t, s, "home")
	old, err := n.Unlock("", id)
	noErr(t, err)
	// it is announced, but has not got its name, and the issuer no delegation by it
	ledger, err := os.ReadFile(n.path(ledgerFile))
	noErr(t, err)
	noErr(t, n.Rotate(old, time.Hour, id.Recipient()))
	n.Close()
	noErr(t, os.WriteFile(n.path(ledgerFile), ledger, 0o600))
	noErr(t, os.Rename(kept, fresh))

	n = open(t, s, "home")
	defer n.Close()
	noErr(t, n.CanIssue())
	key, err := n.Unlock("", id)
	noErr(t, err)
	noErr(t, n.Delegate(key, 0))
	if d := n.Delegation(); d.Root != key.Public() || key.Public() == old.Public() {
		t.Errorf("delegated by %s", d.Root)
	}
	if _, err := n.Unlock(n.path("root-1.age"), id); !errors.Is(err, identity.ErrUntrustedRoot) {
		t.Errorf("the old root key: %v", err)
	}
	// a trust file from before the latest rotation must not cost the latest key
	noErr(t, identity.WriteKey(n.path("root-3.age"), identity.GenerateKey(), id.Recipient()))
	if err := n.Rotate(key, time.Hour, id.Recipient()); err == nil {
		t.Error("rotated in spite of a later root key")
	}
}

// When the overlap is over, a delegation by the old root key says so.
func TestRetiredRoot(t *testing.T) {
	s, id := newStore(t)
	now := time.Now()
	s.Now = func() time.Time { return now }
	create(t, s, "home", id)
	n := open(t, s, "home")
	old, err := n.Unlock("", id)
	noErr(t, err)
	ledger, err := os.ReadFile(n.path(ledgerFile))
	noErr(t, err)
	noErr(t, n.Rotate(old, time.Hour, id.Recipient()))
	n.Close()
	noErr(t, os.WriteFile(n.path(ledgerFile), ledger, 0o600))
	now = now.Add(2 * time.Hour)
	n = open(t, s, "home")
	defer n.Close()
	if _, err := n.Invite(identity.Agent, 1, time.Hour); !errors.Is(err, identity.ErrRetiredRoot) {
		t.Errorf("invite: %v", err)
	}
}

// A foreign network's files do not pass for this one's.
func TestForeignFiles(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	create(t, s, "other", id)
	for _, file := range []string{trustFile, ledgerFile, credFile, operatorFile, issuerFile, localFile} {
		path := filepath.Join(s.Dir, "home", file)
		ours, err := os.ReadFile(path)
		noErr(t, err)
		theirs, err := os.ReadFile(filepath.Join(s.Dir, "other", file))
		noErr(t, err)
		noErr(t, os.WriteFile(path, theirs, 0o600))
		if n, err := s.Open(t.Context(), "home"); err == nil {
			n.Close()
			t.Errorf("opened with another network's %s", file)
		}
		noErr(t, os.WriteFile(path, ours, 0o600))
	}
	n := open(t, s, "home")
	defer n.Close()
	if _, err := n.TLS(); err != nil {
		t.Error(err)
	}
	if _, err := n.Unlock(filepath.Join(s.Dir, "other", "root-1.age"), id); !errors.Is(err, identity.ErrUntrustedRoot) {
		t.Errorf("another network's root key: %v", err)
	}
}

func FuzzUnpackAccess(f *testing.F) {
	data, err := pack(map[string][]byte{nameFile: []byte("home"), credFile: {1}, trustFile: {2}, nodesFile: {3}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := unpack(data, credFile, trustFile, nameFile, nodesFile)
		if err == nil && len(files) != 4 || err != nil && !errors.Is(err, ErrAccess) {
			t.Fatalf("%d files, %v", len(files), err)
		}
	})
}
