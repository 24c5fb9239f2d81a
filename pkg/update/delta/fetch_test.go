package delta

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var errRead = errors.New("read error")

func TestFetchTakesOnlyWhatIsMissing(t *testing.T) {
	old := random(1, 1<<20)
	file := append(append(bytes.Clone(old[:500000]), random(2, 100000)...), old[600000:]...)
	x := index(t, file)
	server := &memory{name: "server", file: file}
	peer := &memoryPeer{memory: memory{name: "peer", file: file}, state: PeerState{Phase: Whole}}
	var last Progress
	cfg := Config{
		Index: x, Dir: t.TempDir(), Server: server, Peers: peersOf(peer),
		Local:    []Local{local("unreadable", nil), local("old", old)},
		Progress: func(p Progress) { last = p },
	}
	cfg.Local[0].Open = func() (io.ReadCloser, error) { return nil, errRead }
	f, err := Fetch(t.Context(), cfg)
	noErr(t, err)
	holds(t, f, file)
	if last.Have() != x.Size() || last.Local < 800000 || last.Peers == 0 || last.Server != 0 || server.sent.Load() != 0 || last.Received != peer.sent.Load() {
		t.Errorf("progress %+v, the server sent %d, the peer %d", last, server.sent.Load(), peer.sent.Load())
	}
	if last.Received > 100000+3*maxChunk {
		t.Errorf("%d bytes came for 100000 that are new", last.Received)
	}
	noErr(t, f.Close())

	// Whole already: nothing is asked.
	cfg.Local, cfg.Peers, cfg.Server = nil, nil, nil
	f, err = Fetch(t.Context(), cfg)
	noErr(t, err)
	holds(t, f, file)
	noErr(t, f.Remove())
	if _, err := os.Stat(f.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
}

// A content that is in a file many times is fetched once.
func TestFetchFillsAllPlacesOfAContent(t *testing.T) {
	file := append(make([]byte, 1<<20), random(1, 100000)...)
	server := &memory{name: "server", file: file}
	f, err := Fetch(t.Context(), Config{Index: index(t, file), Dir: t.TempDir(), Server: server, span: 1})
	noErr(t, err)
	defer func() { noErr(t, f.Close()) }()
	holds(t, f, file)
	if n := server.sent.Load(); n > 100000+2*maxChunk {
		t.Errorf("the server sent %d bytes", n)
	}
}

func TestFetchGoesOnAfterAKillAtEachChunk(t *testing.T) {
	file := random(1, 1<<20)
	x := index(t, file)
	for kill := range x.Chunks() {
		server := &memory{name: "server", file: file}
		cfg := Config{Index: x, Dir: t.TempDir(), Server: server}
		ctx, cancel := context.WithCancelCause(t.Context())
		cfg.Progress = func(p Progress) {
			if p.Step == FromServer && p.Have() >= x.chunks[kill].offset {
				cancel(errors.New("killed"))
			}
		}
		_, err := Fetch(ctx, cfg)
		wantErr(t, err, "killed")
		var resumed int64
		cfg.Progress = func(p Progress) { resumed = p.Resumed }
		f, err := Fetch(t.Context(), cfg)
		noErr(t, err)
		holds(t, f, file)
		noErr(t, f.Close())
		if n := server.sent.Load(); resumed != x.chunks[kill].offset || n > x.Size()+maxChunk {
			t.Errorf("killed before chunk %d at %d: %d bytes resumed, %d of %d were sent", kill, x.chunks[kill].offset, resumed, n, x.Size())
		}
	}
}

func TestDamagedPartIsLoadedAgain(t *testing.T) {
	file := random(1, 1<<20)
	x := index(t, file)
	for name, damage := range map[string]func(b []byte) []byte{
		"a bit":       func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut off":     func(b []byte) []byte { return b[:len(b)-50000] },
		"longer":      func(b []byte) []byte { return append(b, b...) },
		"zeros":       func(b []byte) []byte { clear(b[100:70000]); return b },
		"all of it":   func(b []byte) []byte { clear(b); return b },
		"empty":       func([]byte) []byte { return nil },
		"shifted one": func(b []byte) []byte { return append([]byte{1}, b...) },
	} {
		dir := t.TempDir()
		noErr(t, os.WriteFile(filepath.Join(dir, x.Digest()+".part"), damage(bytes.Clone(file)), 0o600))
		server := &memory{name: "server", file: file}
		f, err := Fetch(t.Context(), Config{Index: x, Dir: dir, Server: server})
		noErr(t, err)
		holds(t, f, file)
		fi, err := os.Stat(f.Path())
		noErr(t, err)
		if fi.Size() != x.Size() {
			t.Errorf("%s: the file has %d bytes, want %d", name, fi.Size(), x.Size())
		}
		noErr(t, f.Close())
		if n := server.sent.Load(); (name == "a bit" && n > maxChunk) || (name == "zeros" && n > 70000+2*maxChunk) {
			t.Errorf("%s: the server sent %d bytes", name, n)
		}
	}
}

func TestFetchClearsAwayOtherParts(t *testing.T) {
	file := random(1, 100000)
	dir := filepath.Join(t.TempDir(), "new", "dir")
	noErr(t, os.MkdirAll(dir, 0o700))
	old := strings.Repeat("a0", 32) + ".part"
	for _, name := range []string{old, "notes", "A0.part"} {
		noErr(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	x := index(t, file)
	f, err := Fetch(t.Context(), Config{Index: x, Dir: dir, Server: &memory{name: "server", file: file}})
	noErr(t, err)
	defer func() { noErr(t, f.Close()) }()
	entries, err := os.ReadDir(dir)
	noErr(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), strings.Join([]string{"A0.part", x.Digest() + ".part", "notes"}, " "); len(got) != len(want) || strings.Contains(got, old) {
		t.Errorf("the directory holds %s", got)
	}
}

func TestSecondFetchIsRefused(t *testing.T) {
	file := random(1, 100000)
	cfg := Config{Index: index(t, file), Dir: t.TempDir(), Server: &memory{name: "server", file: file}}
	var during error
	second := cfg
	cfg.Progress = func(p Progress) {
		if p.Step == FromServer && during == nil {
			_, during = Fetch(t.Context(), second)
		}
	}
	f, err := Fetch(t.Context(), cfg)
	noErr(t, err)
	if !errors.Is(during, ErrBusy) {
		t.Errorf("while another fetch runs: %v", during)
	}
	if _, err := Fetch(t.Context(), second); !errors.Is(err, ErrBusy) {
		t.Errorf("while the file is open: %v", err)
	}
	noErr(t, f.Close())
	f, err = Fetch(t.Context(), second)
	noErr(t, err)
	holds(t, f, file)
	noErr(t, f.Close())
}

func TestDiskFull(t *testing.T) {
	file := random(1, 1<<20)
	x := index(t, file)
	full := &os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}
	none := realDisk()
	none.allocate = func(f *os.File, size int64) error {
		_ = f.Truncate(size) // as far as it came
		return os.NewSyscallError("fallocate", unix.ENOSPC)
	}
	late := realDisk()
	late.writeAt = func(f *os.File, b []byte, offset int64) (int, error) {
		if offset > 300000 {
			return 0, full
		}
		return f.WriteAt(b, offset)
	}
	cfg := Config{Index: x, Dir: t.TempDir(), Server: &memory{name: "server", file: file}}
	part := filepath.Join(cfg.Dir, x.Digest()+".part")

	cfg.disk = none
	_, err := Fetch(t.Context(), cfg)
	wantErr(t, err, "lacks")
	if _, gone := os.Stat(part); !errors.Is(err, ErrDiskFull) || !errors.Is(gone, os.ErrNotExist) {
		t.Errorf("no room at all: %v, and the part file: %v", err, gone)
	}

	cfg.disk = late
	if _, err = Fetch(t.Context(), cfg); !errors.Is(err, ErrDiskFull) {
		t.Errorf("no room for all of it: %v", err)
	}
	cfg.disk, cfg.Server, cfg.Local = late, nil, []Local{local("local", file)}
	if _, err = Fetch(t.Context(), cfg); !errors.Is(err, ErrDiskFull) {
		t.Errorf("no room for local chunks: %v", err)
	}
	cfg.disk = none
	if _, err = Fetch(t.Context(), cfg); !errors.Is(err, ErrDiskFull) {
		t.Errorf("no room to go on: %v", err)
	}
	fi, err := os.Stat(part)
	noErr(t, err)
	if fi.Size() < 200000 || fi.Size() > 300000+maxChunk {
		t.Errorf("what was gained is a part file of %d bytes, want what there was room for", fi.Size())
	}

	cfg.disk, cfg.Local = realDisk(), nil
	server := &memory{name: "server", file: file}
	cfg.Server = server
	f, err := Fetch(t.Context(), cfg)
	noErr(t, err)
	defer func() { noErr(t, f.Close()) }()
	holds(t, f, file)
	if n := server.sent.Load(); n > x.Size()-200000 {
		t.Errorf("with room again the server sent %d bytes", n)
	}
}

func TestDiskThatGivesBackOtherBytes(t *testing.T) {
	file := random(1, 200000)
	bad := realDisk()
	bad.writeAt = func(f *os.File, b []byte, offset int64) (int, error) {
		b = bytes.Clone(b)
		if offset > 100000 {
			b[0] ^= 1
		}
		return f.WriteAt(b, offset)
	}
	cfg := Config{Index: index(t, file), Dir: t.TempDir(), Server: &memory{name: "server", file: file}, disk: bad}
	_, err := Fetch(t.Context(), cfg)
	wantErr(t, err, "the disk may be failing")
}

func TestIndexThatIsNotOfTheFile(t *testing.T) {
	file := random(1, 200000)
	x := index(t, file)
	x.digest[0] ^= 1
	cfg := Config{Index: x, Dir: t.TempDir(), Server: &memory{name: "server", file: file}}
	if _, err := Fetch(t.Context(), cfg); !errors.Is(err, ErrIndex) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(cfg.Dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// Whatever is wrong with a local file, the rest comes from elsewhere.
func TestLocalFaults(t *testing.T) {
	file := random(1, 1<<20)
	flipped := bytes.Clone(file)
	flipped[500000] ^= 1
	for name, c := range map[string]struct {
		local []byte
		bad   bool // ends in a read error
		most  int64
	}{
		"a bit":      {local: flipped, most: 2 * maxChunk},
		"cut off":    {local: file[:700000], most: 1<<20 - 700000 + maxChunk},
		"read error": {local: file[:700000], bad: true, most: 1<<20 - 700000 + maxChunk + 512<<10},
		"other":      {local: random(9, 1<<20), most: 1 << 20},
		"longer":     {local: append(bytes.Clone(file), random(3, 100000)...), most: maxChunk},
	} {
		l := local(name, c.local)
		if c.bad {
			l.Open = func() (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(c.local), errorReader{})), nil
			}
		}
		server := &memory{name: "server", file: file}
		f, err := Fetch(t.Context(), Config{Index: index(t, file), Dir: t.TempDir(), Server: server, Local: []Local{l}})
		noErr(t, err)
		holds(t, f, file)
		noErr(t, f.Close())
		if n := server.sent.Load(); n > c.most {
			t.Errorf("%s: the server sent %d bytes, want at most %d", name, n, c.most)
		}
	}
}

// What is there is not given up because there was no time to look at it.
func TestCancelledBeforeThePartIsRead(t *testing.T) {
	file := random(1, 200000)
	cfg := Config{Index: index(t, file), Dir: t.TempDir(), Server: &memory{name: "server", file: file}}
	f, err := Fetch(t.Context(), cfg)
	noErr(t, err)
	noErr(t, f.Close())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg.Server = nil
	if _, err := Fetch(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	f, err = Fetch(t.Context(), cfg)
	noErr(t, err)
	holds(t, f, file)
	noErr(t, f.Close())
}

func TestCancelled(t *testing.T) {
	file := random(1, 1<<20)
	for _, at := range []Step{Resuming, Scanning, FromServer, Verifying} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cfg := Config{Index: index(t, file), Dir: t.TempDir(), Server: &memory{name: "server", file: file}, Local: []Local{local("old", file[:300000])}}
		cfg.Progress = func(p Progress) {
			if p.Step == at {
				cancel(errors.New("the machine shuts down"))
			}
		}
		_, err := Fetch(ctx, cfg)
		wantErr(t, err, "the machine shuts down")
	}
}
