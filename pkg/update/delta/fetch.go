package delta

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Source is a place that has the file. It is not trusted.
type Source interface {
	// Name is what logs call it. It tells the peers of one Fetch apart.
	Name() string
	// ReadRange opens length bytes from offset on. What it returns may end early, and
	// must end with its context. An error that wraps ErrNoRanges says that only an
	// offset of 0 is served, one that wraps ErrUseless that trying again is of no use.
	ReadRange(ctx context.Context, offset, length int64) (io.ReadCloser, error)
}

// Peer is a machine that may have the file, or get it too.
type Peer interface {
	Source
	// Before says that the peer's key sorts before this machine's. Of two machines
	// that are each other's peers, one is before the other.
	Before() bool
	// State asks the peer.
	State(ctx context.Context) (PeerState, error)
}

// Errors of a Source.
var (
	// ErrNoRanges says that a source gives the file only from its start.
	ErrNoRanges = errors.New("the source does not serve ranges")
	// ErrUseless says that a source will not have the file the next time either.
	ErrUseless = errors.New("the source is of no use")
)

// Local is a file on this machine that may have chunks of the new one, such as the
// one that runs.
type Local struct {
	Name string
	// Open opens it for reading from its start. Fetch closes it.
	Open func() (io.ReadCloser, error)
}

// Pace is how long Fetch waits for what. Zero values are those of DefaultPace.
type Pace struct {
	// Poll is the time between two questions to the peers, and how long a machine
	// looks whether one of them loads from the server before it does.
	Poll time.Duration
	// Patience is how long a peer is waited for that does not get on.
	Patience time.Duration
	// MaxWait is how long peers are waited for in all since the last chunk came.
	MaxWait time.Duration
	// Stall is how long a source may take for the next few kilobytes.
	Stall time.Duration
	// Retry is the time before the server is tried again after a first failure; it
	// doubles with each further one up to RetryMax.
	Retry, RetryMax time.Duration
	// Attempts is how often the server may fail without that a chunk came.
	Attempts int
}

// DefaultPace is for machines with a home's link to the server.
func DefaultPace() Pace {
	return Pace{
		Poll: 2 * time.Second, Patience: 30 * time.Second, MaxWait: 30 * time.Minute, Stall: 30 * time.Second,
		Retry: time.Second, RetryMax: time.Minute, Attempts: 8,
	}
}

func orDefault[T comparable](v *T, standard T) {
	var zero T
	if *v == zero {
		*v = standard
	}
}

// fill puts the defaults in.
func (p *Pace) fill() {
	d := DefaultPace()
	orDefault(&p.Poll, d.Poll)
	orDefault(&p.Patience, d.Patience)
	orDefault(&p.MaxWait, d.MaxWait)
	orDefault(&p.Stall, d.Stall)
	orDefault(&p.Retry, d.Retry)
	orDefault(&p.RetryMax, d.RetryMax)
	orDefault(&p.Attempts, d.Attempts)
}

// Config says what Fetch gets, and where from.
type Config struct {
	// Index is the file's, from a source that is trusted.
	Index *Index
	// Dir holds the part file. It is Fetch's own: part files of other digests in it
	// are removed, and it is locked. It is created when it is missing.
	Dir string
	// Local are read in this order, each at most once, until nothing is missing.
	Local []Local
	// Peers returns the machines to ask, a few dozen at most. It is called at each
	// poll. Nil when there are none.
	Peers func(ctx context.Context) []Peer
	// Server has the file. Nil when only peers have it.
	Server Source
	Pace   Pace
	// Progress is called with each change, one call at a time; it must not block.
	Progress func(Progress)
	// Log is nil for none.
	Log *slog.Logger

	span int64 // maxSpan, or less in tests
	disk disk
}

// Step is what a fetch is doing.
type Step string

// The steps of a fetch, in their order; those of the network alternate.
const (
	Resuming   Step = "read what is there"
	Scanning   Step = "search local files"
	Waiting    Step = "wait for a peer"
	FromPeers  Step = "load from peers"
	FromServer Step = "load from the server"
	Verifying  Step = "verify"
)

// Progress is how far a fetch is. All numbers are bytes.
type Progress struct {
	Step Step
	// Total is the file's size.
	Total int64
	// Resumed, Local, Peers and Server are how much of the file is there from an
	// earlier try, from local files, from peers and from the server.
	Resumed, Local, Peers, Server int64
	// Received is what came over the network, also what was of no use.
	Received int64
	// Leading says that this machine loads from the server, for others too, or has
	// all of the file and verifies it.
	Leading bool
}

// Have is how much of the file is there.
func (p Progress) Have() int64 { return p.Resumed + p.Local + p.Peers + p.Server }

// State is what peers are to be told while the fetch goes on.
func (p Progress) State() PeerState {
	return PeerState{Phase: Fetching, Have: p.Have(), Leading: p.Leading}
}

// fetch is one Fetch.
type fetch struct {
	Config
	part     *part
	progress Progress
	buf      []byte // of one chunk
	network
}

// Fetch puts the file of cfg.Index together in cfg.Dir. On an error what is right
// of it stays there for the next Fetch. The caller must close the File or remove it.
func Fetch(ctx context.Context, cfg Config) (*File, error) {
	if cfg.Index == nil || cfg.Dir == "" {
		return nil, errors.New("fetch a file: an index and a directory are needed")
	}
	cfg.Pace.fill()
	orDefault(&cfg.span, maxSpan)
	if cfg.disk.allocate == nil {
		cfg.disk = realDisk()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p, err := openPart(cfg.Dir, cfg.Index, cfg.disk)
	if err != nil {
		return nil, fmt.Errorf("begin to fetch %s: %w", cfg.Index.Digest(), err)
	}
	f := &fetch{Config: cfg, part: p, buf: make([]byte, maxChunk), progress: Progress{Total: cfg.Index.Size()}}
	f.network.start()
	if err := f.run(ctx); err != nil {
		p.close()
		return nil, fmt.Errorf("fetch %s: %w", cfg.Index.Digest(), err)
	}
	return &File{SectionReader: io.NewSectionReader(p.file, 0, cfg.Index.Size()), part: p}, nil
}

func (f *fetch) run(ctx context.Context) error {
	f.step(Resuming)
	if err := f.part.resume(ctx); err != nil {
		return err
	}
	f.progress.Resumed = f.part.held
	if err := f.part.reserve(); err != nil {
		return err
	}
	f.step(Scanning)
	for _, l := range f.Local {
		if f.part.left() == 0 {
			break
		}
		if err := f.scan(ctx, l); err != nil {
			return err
		}
	}
	if err := f.load(ctx); err != nil {
		return err
	}
	f.step(Verifying)
	if err := f.part.finish(ctx); err != nil {
		return err
	}
	p := f.progress
	f.Log.Info("the file is whole", "digest", f.Index.Digest(), "bytes", p.Total, "resumed", p.Resumed, "local", p.Local,
		"peers", p.Peers, "server", p.Server, "received", p.Received)
	return nil
}

// report tells how far the fetch is.
func (f *fetch) report() {
	if f.Progress != nil {
		f.Progress(f.progress)
	}
}

func (f *fetch) step(s Step) {
	leading := s == FromServer || s == Verifying
	if f.progress.Step != s || f.progress.Leading != leading {
		f.progress.Step, f.progress.Leading = s, leading
		f.report()
	}
}

// errDone ends a scan that has found everything.
var errDone = errors.New("nothing is missing")

// scan takes what a local file has. A file that cannot be read is no reason to
// stop, a part file that cannot be written is.
func (f *fetch) scan(ctx context.Context, l Local) error {
	log := f.Log.With("file", l.Name)
	r, err := l.Open()
	if err != nil {
		log.Warn("no chunks are taken from a local file", "err", err)
		return nil
	}
	defer r.Close()
	var wrote error
	err = cut(&contextReader{ctx, r}, func(data []byte, sum [sha256.Size]byte) error {
		n, err := f.part.put(data, sum)
		if n > 0 {
			f.progress.Local += n
			f.report()
		}
		if wrote = err; err == nil && f.part.left() == 0 {
			return errDone
		}
		return err
	})
	switch {
	case wrote != nil:
		return wrote
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && !errors.Is(err, errDone):
		log.Warn("a local file can be read only in part", "err", err)
	}
	return nil
}
