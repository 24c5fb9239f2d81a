package repository

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/release"
)

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// bench is a place where a repository is made.
type bench struct {
	t    *testing.T
	dir  string
	time time.Time
	keys map[string]identity.PrivateKey
	r    *Repository
}

func (b *bench) now() time.Time { return b.time }

// key returns the key of that name.
func (b *bench) key(name string) identity.PrivateKey {
	if _, ok := b.keys[name]; !ok {
		b.keys[name] = identity.GenerateKey()
	}
	return b.keys[name]
}

func (b *bench) signers(threshold int, names ...string) Signers {
	s := Signers{Threshold: threshold}
	for _, name := range names {
		s.Keys = append(s.Keys, b.key(name).Public())
	}
	return s
}

// newBench has a repository whose root and targets need two of three people.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: filepath.Join(t.TempDir(), "repo"), time: start, keys: map[string]identity.PrivateKey{}}
	people := b.signers(2, "ann", "bob", "cat")
	var err error
	b.r, err = Create(b.dir, Settings{Signers: map[string]Signers{
		Root: people, Targets: people, Snapshot: b.signers(1, "online"), Timestamp: b.signers(1, "online"),
	}}, b.now)
	noErr(t, err)
	return b
}

// sign lets the owners of keys sign, each of them on a machine of their own.
func (b *bench) sign(names ...string) {
	b.t.Helper()
	for _, name := range names {
		b.reopen()
		_, err := b.r.Sign(b.key(name).Signer())
		noErr(b.t, err)
	}
}

func (b *bench) reopen() {
	b.t.Helper()
	r, err := Open(b.dir, b.now)
	noErr(b.t, err)
	b.r = r
}

func (b *bench) add(version, content string) {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "os.efi")
	noErr(b.t, os.WriteFile(path, []byte(content), 0o600))
	noErr(b.t, b.r.Add(release.Attributes{Version: version, Board: "x86", Channels: []string{"stable"}}, path, []byte("index of "+content)))
}

func (b *bench) publish() {
	b.t.Helper()
	noErr(b.t, b.r.Publish(b.t.Context()))
}

// first publishes a repository with one release.
func (b *bench) first() {
	b.t.Helper()
	b.add("1.0.0", "one")
	b.sign("ann", "bob", "online")
	b.publish()
}

func (b *bench) versions(dir string) []string {
	b.t.Helper()
	report, err := Verify(b.t.Context(), release.Directory(dir), b.r.Digest(), b.now)
	noErr(b.t, err)
	var list []string
	for _, r := range report.Releases {
		list = append(list, r.Directory())
	}
	return list
}

// Several people sign on several machines, and nothing is published before.
func TestThresholdSigning(t *testing.T) {
	b := newBench(t)
	b.add("1.0.0", "one")
	if d := b.r.Digest(); d != "" {
		t.Errorf("an unsigned root has the digest %s", d)
	}
	wantErr(t, b.r.Publish(t.Context()), ErrUnsigned)
	_, err := b.r.Sign(identity.GenerateKey().Signer())
	wantErr(t, err, ErrNothing)
	_, err = b.r.Sign(b.key("online").Signer()) // too early: there is no snapshot
	wantErr(t, err, ErrNothing)
	signed, err := b.r.Sign(b.key("ann").Signer())
	noErr(t, err)
	if !slices.Equal(signed, []string{Root, Targets}) {
		t.Errorf("signed %v", signed)
	}
	_, err = b.r.Sign(b.key("ann").Signer())
	wantErr(t, err, ErrNothing)
	wantErr(t, b.r.Publish(t.Context()), ErrUnsigned)
	b.sign("bob")
	digest := b.r.Digest()
	_, err = b.r.Sign(b.key("cat").Signer()) // complete: the digest is fixed
	wantErr(t, err, ErrNothing)
	wantErr(t, b.r.Publish(t.Context()), ErrUnsigned)
	b.sign("online")
	for _, st := range b.r.Status() {
		if !st.Complete || st.Staged != 1 || len(st.Signed) != st.Threshold || len(st.Missing) != 0 {
			t.Errorf("%+v", st)
		}
	}
	b.publish()
	wantErr(t, b.r.Publish(t.Context()), ErrNothing)
	if b.r.Digest() != digest || digest == "" {
		t.Errorf("digest %s became %s", digest, b.r.Digest())
	}
	if got := b.versions(b.dir); !slices.Equal(got, []string{"x86/1.0.0"}) {
		t.Errorf("released: %v", got)
	}
}

func TestReleasesComeAndGo(t *testing.T) {
	b := newBench(t)
	b.first()
	path := filepath.Join(t.TempDir(), "os.efi")
	noErr(t, os.WriteFile(path, []byte("other"), 0o600))
	a := release.Attributes{Version: "1.0.0", Board: "x86", Channels: []string{"stable"}}
	wantErr(t, b.r.Add(a, path, nil), ErrExists)
	a.Version = "1"
	wantErr(t, b.r.Add(a, path, nil), release.ErrMalformed)
	noErr(t, os.WriteFile(path, []byte("one"), 0o600)) // the same file, in another channel too
	a.Version, a.Channels = "1.0.0", []string{"stable", "edge"}
	noErr(t, b.r.Add(a, path, nil))
	b.add("1.1.0", "two")
	b.sign("cat", "bob", "online")
	b.publish()
	if got := b.versions(b.dir); !slices.Equal(got, []string{"x86/1.1.0", "x86/1.0.0"}) {
		t.Errorf("released: %v", got)
	}
	report, err := Look(t.Context(), release.Directory(b.dir), b.r.Digest(), b.now)
	noErr(t, err)
	if one := report.Releases[1]; !slices.Equal(one.Channels, []string{"stable", "edge"}) || one.Index.Size != 0 {
		t.Errorf("%+v", one)
	}
	noErr(t, b.r.Withdraw("x86", "1.1.0"))
	if b.r.Withdraw("x86", "9.0.0") == nil {
		t.Error("what is not there was withdrawn")
	}
	b.sign("ann", "bob", "online")
	b.publish()
	if got := b.versions(b.dir); !slices.Equal(got, []string{"x86/1.0.0"}) {
		t.Errorf("released: %v", got)
	}
}

// Renewed metadata takes the place of metadata that has expired.
func TestRenew(t *testing.T) {
	b := newBench(t)
	b.first()
	b.time = start.AddDate(0, 2, 0)
	_, err := Look(t.Context(), release.Directory(b.dir), b.r.Digest(), b.now)
	wantErr(t, err, release.ErrExpired)
	noErr(t, b.r.Renew(Timestamp))
	b.sign("online")
	b.publish()
	b.versions(b.dir)
	b.time = start.AddDate(0, 6, 0)
	noErr(t, b.r.Renew(Snapshot))
	b.sign("online")
	b.publish()
	b.versions(b.dir)
	b.time = start.AddDate(3, 0, 0)
	noErr(t, b.r.Renew(Root))
	noErr(t, b.r.Renew(Targets))
	b.sign("ann", "cat", "online")
	b.publish()
	b.versions(b.dir)
}

// A new root needs the old signers and the new ones, and roles with new signers are
// signed anew.
func TestRotate(t *testing.T) {
	b := newBench(t)
	b.first()
	digest := b.r.Digest()
	people := b.signers(2, "ann", "dan", "eve")
	noErr(t, b.r.Rotate(map[string]Signers{Root: people, Targets: people, Timestamp: b.signers(1, "online2"), Snapshot: b.signers(1, "online2")}))
	b.sign("dan", "eve")
	wantErr(t, b.r.Publish(t.Context()), ErrUnsigned)
	b.sign("bob")
	wantErr(t, b.r.Publish(t.Context()), ErrUnsigned) // one of the old ones is not enough
	b.sign("ann")
	_, err := b.r.Sign(b.key("online").Signer())
	wantErr(t, err, ErrNothing)
	b.sign("online2")
	b.publish()
	if got := b.versions(b.dir); !slices.Equal(got, []string{"x86/1.0.0"}) || b.r.Digest() != digest {
		t.Errorf("released: %v, %s", got, b.r.Digest())
	}
}

// A reader during a publication, and after one that was cut short at any write, sees the
// releases before or after; and the publication can be done again.
func TestPublicationCutShort(t *testing.T) {
	for cut := range 5 {
		b := newBench(t)
		b.first()
		noErr(t, b.r.Rotate(nil))
		b.add("1.1.0", "two")
		b.sign("ann", "bob", "online")
		client, err := release.Open(release.Options{Root: b.r.Digest(), Fetch: release.Directory(b.dir), Now: b.now})
		noErr(t, err)
		writes, stop := 0, errors.New("power cut")
		b.r.write = func(path string, data []byte) error {
			if _, err := client.Refresh(context.Background()); err != nil {
				t.Errorf("cut %d: a node while it is published: %v", cut, err)
			}
			if n := len(b.versions(b.dir)); n != 1 {
				t.Errorf("cut %d: a new node sees %d releases", cut, n)
			}
			if writes++; writes > cut {
				return stop
			}
			return writeFile(path, data)
		}
		err = b.r.Publish(t.Context())
		if cut < 4 {
			wantErr(t, err, stop)
			b.reopen()
			err = b.r.Publish(t.Context())
		}
		noErr(t, err)
		if got := b.versions(b.dir); len(got) != 2 {
			t.Errorf("cut %d: released: %v", cut, got)
		}
		_, err = client.Refresh(t.Context())
		noErr(t, err)
		if len(client.Releases()) != 2 {
			t.Errorf("cut %d: the node knows %v", cut, client.Releases())
		}
	}
}

func TestCopyTo(t *testing.T) {
	b := newBench(t)
	wantErr(t, b.r.CopyTo(t.Context(), t.TempDir()), ErrNothing)
	b.first()
	stick := filepath.Join(t.TempDir(), "stick")
	noErr(t, b.r.CopyTo(t.Context(), stick))
	b.add("1.1.0", "two")
	b.sign("ann", "bob", "online")
	old := filepath.Join(t.TempDir(), "old")
	noErr(t, os.CopyFS(old, os.DirFS(b.dir)))
	b.publish()
	noErr(t, b.r.CopyTo(t.Context(), stick))
	noErr(t, b.r.CopyTo(t.Context(), stick))
	if got := b.versions(stick); len(got) != 2 {
		t.Errorf("on the stick: %v", got)
	}
	if _, err := os.Stat(filepath.Join(stick, stagedDir)); err == nil {
		t.Error("what is staged was copied")
	}
	behind, err := Open(old, b.now)
	noErr(t, err)
	if err := behind.CopyTo(t.Context(), stick); err == nil {
		t.Error("an older repository replaced a newer one")
	}
	noErr(t, os.WriteFile(filepath.Join(stick, filepath.FromSlash(mustOS(t, b, stick))), []byte("owt"), 0o600))
	_, err = Verify(t.Context(), release.Directory(stick), b.r.Digest(), b.now)
	wantErr(t, err, release.ErrTampered)
}

func mustOS(t *testing.T, b *bench, dir string) string {
	t.Helper()
	report, err := Look(t.Context(), release.Directory(dir), b.r.Digest(), b.now)
	noErr(t, err)
	return report.Releases[0].OS.Path
}

func TestRefusedSettings(t *testing.T) {
	b := newBench(t)
	_, err := Create(b.dir, Settings{}, b.now)
	wantErr(t, err, ErrExists)
	one := b.signers(1, "ann")
	for name, s := range map[string]Settings{
		"no key":    {Signers: map[string]Signers{Root: one, Targets: one, Snapshot: one}},
		"threshold": {Signers: map[string]Signers{Root: one, Targets: one, Snapshot: one, Timestamp: b.signers(2, "ann", "ann")}},
		"role":      {Signers: map[string]Signers{Root: one, Targets: one, Snapshot: one, Timestamp: one, "boss": one}},
		"expiry":    {Signers: map[string]Signers{Root: one, Targets: one, Snapshot: one, Timestamp: one}, Expiry: map[string]time.Duration{Root: time.Second}},
	} {
		if _, err := Create(filepath.Join(t.TempDir(), "x"), s, b.now); err == nil {
			t.Errorf("%s: created", name)
		}
	}
}
