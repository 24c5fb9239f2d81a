package delta

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// peerFailures is how often a peer may fail without that a chunk came.
	peerFailures = 6
	// silences is after how many questions without an answer a peer is asked less often,
	// maxSilent bounds how much less.
	silences  = 3
	maxSilent = 3
	// drip is how many bytes a source must give within Pace.Stall.
	drip = 4 << 10
)

// errWrong says that a source gave other bytes than the index has.
var errWrong = errors.New("wrong bytes")

// network is what a fetch remembers of its sources.
type network struct {
	peers    map[string]*peer
	order    []string // of the peers, as the caller has them
	polled   time.Time
	turn     int // of the peers that are whole
	sources  map[string]*standing
	led      time.Time     // see situation
	waited   time.Duration // without a chunk
	leading  bool
	looks    int // at the peers, before leading
	failures int // of the server, without a chunk
	hopeless error
}

// standing is what is known of a source, by its name.
type standing struct {
	noRanges bool  // it gives the file only from its start
	wasted   int64 // bytes that it sent and that were of no use
}

// peer is one of them, with what is known of it.
type peer struct {
	Peer
	view
	failures int // of loading from it
	silent   int // questions without an answer, one after the other
	askAgain time.Time
}

func (n *network) start() {
	n.peers = map[string]*peer{}
	n.sources = map[string]*standing{}
}

// load fetches all that is missing.
func (f *fetch) load(ctx context.Context) error {
	if f.Server == nil {
		f.hopeless = errors.New("there is no server")
	}
	for f.part.left() > 0 {
		if err := f.poll(ctx); err != nil {
			return err
		}
		act, leader := f.next()
		if act != fromServer {
			f.leading, f.looks = false, 0
		}
		var err error
		switch act {
		case fromPeers:
			err = f.fromPeer(ctx)
		case wait:
			if leader {
				f.led = time.Now()
			}
			err = f.wait(ctx)
		case fromServer:
			err = f.fromServer(ctx)
		case giveUp:
			err = fmt.Errorf("%d of %d bytes are missing, and no peer has them: %w", f.part.left(), f.Index.Size(), f.hopeless)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// next decides.
func (f *fetch) next() (act action, leader bool) {
	s := situation{now: time.Now(), patience: f.Pace.Patience, leading: f.leading, hopeless: f.hopeless != nil, led: f.led, have: f.part.held, total: f.Index.Size()}
	if f.waited >= f.Pace.MaxWait {
		s.patience = 0
	}
	for _, name := range f.order {
		s.peers = append(s.peers, f.peers[name].view)
	}
	return decide(s)
}

// wait waits for a peer to get on.
func (f *fetch) wait(ctx context.Context) error {
	f.step(Waiting)
	f.waited += f.Pace.Poll
	return sleep(ctx, f.Pace.Poll)
}

// poll asks the peers for their states, all at once, unless it has just done so.
func (f *fetch) poll(ctx context.Context) error {
	if f.Peers == nil || (!f.polled.IsZero() && time.Since(f.polled) < f.Pace.Poll) {
		return nil
	}
	f.order = f.order[:0]
	now := time.Now()
	var group sync.WaitGroup
	for _, p := range f.Peers(ctx) {
		known := f.peers[p.Name()]
		if known == nil {
			known = &peer{view: view{name: p.Name(), before: p.Before(), state: PeerState{Phase: None}}}
			f.peers[p.Name()] = known
		}
		if slices.Contains(f.order, p.Name()) {
			continue
		}
		known.Peer = p
		f.order = append(f.order, p.Name())
		if !known.dropped && !now.Before(known.askAgain) {
			group.Go(func() { known.ask(ctx, f.Pace.Poll) })
		}
	}
	group.Wait()
	f.polled = time.Now()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// ask updates what is known of the peer. One that does not answer keeps its state:
// a lost packet is no death. After some it is asked less and less often, or one
// that is off would hold every poll up.
func (p *peer) ask(ctx context.Context, poll time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, poll)
	defer cancel()
	state, err := p.State(ctx)
	now := time.Now()
	if err != nil {
		p.silent++
		p.askAgain = now.Add(poll << min(max(p.silent-silences, 0), maxSilent))
	}
	switch {
	case err == nil:
		p.heard, p.silent = now, 0
		if state != p.state {
			p.state, p.changed = state, now
		}
	case p.state.Phase == Whole && p.silent > 1:
		p.state = PeerState{Phase: None}
	}
}

// fromPeer takes one run of chunks from the next peer that is whole.
func (f *fetch) fromPeer(ctx context.Context) error {
	var whole []*peer
	for _, name := range f.order {
		if p := f.peers[name]; p.state.Phase == Whole && !p.dropped {
			whole = append(whole, p)
		}
	}
	p := whole[f.turn%len(whole)]
	f.turn++
	f.step(FromPeers)
	gained, err := f.take(ctx, p, &f.progress.Peers)
	if gained > 0 {
		p.failures = 0
	}
	if err == nil || fatal(ctx, err) {
		return err
	}
	p.failures++
	if errors.Is(err, errWrong) || p.failures >= peerFailures || f.wasteful(p) {
		p.dropped = true
		f.Log.Warn("nothing more is taken from a peer", "peer", p.name, "err", err)
		return nil
	}
	f.Log.Info("a peer failed", "peer", p.name, "err", err)
	if len(whole) > 1 {
		return nil // it is the next one's turn
	}
	return sleep(ctx, backOff(f.Pace, p.failures))
}

// fromServer takes one run of chunks from the server.
func (f *fetch) fromServer(ctx context.Context) error {
	if !f.leading && f.lookAgain() {
		f.looks++
		return sleep(ctx, f.Pace.Poll)
	}
	f.leading = true
	f.step(FromServer)
	gained, err := f.take(ctx, f.Server, &f.progress.Server)
	if gained > 0 {
		f.failures = 0
	}
	if err == nil || fatal(ctx, err) {
		return err
	}
	f.failures++
	log := f.Log.With("server", f.Server.Name(), "err", err)
	if errors.Is(err, errWrong) || errors.Is(err, ErrUseless) || f.failures >= f.Pace.Attempts || f.wasteful(f.Server) {
		f.hopeless = err
		log.Warn("nothing more is taken from the server")
		return nil
	}
	log.Info("the server failed", "failures", f.failures)
	return sleep(ctx, backOff(f.Pace, f.failures))
}

// lookAgain reports whether the peers are to be asked once more before this machine
// leads: others may begin in the same moment, and an answer may have been lost.
func (f *fetch) lookAgain() bool {
	unheard := func(name string) bool { return f.peers[name].heard.IsZero() }
	return len(f.order) > 0 && (f.looks == 0 || f.looks < silences && slices.ContainsFunc(f.order, unheard))
}

// fatal reports whether an error is none of the source's.
func fatal(ctx context.Context, err error) bool {
	var w *writeError
	return ctx.Err() != nil || errors.As(err, &w)
}

// writeError is an error of the part file.
type writeError struct{ error }

func (w *writeError) Unwrap() error { return w.error }

// backOff is the time before the next try, half of it by chance so that machines
// do not come all at once.
func backOff(p Pace, failures int) time.Duration {
	d := p.Retry << min(failures-1, 16)
	if d <= 0 || d > p.RetryMax {
		d = p.RetryMax
	}
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// standing returns what is known of a source.
func (f *fetch) standing(src Source) *standing {
	s := f.sources[src.Name()]
	if s == nil {
		s = &standing{}
		f.sources[src.Name()] = s
	}
	return s
}

// wasteful reports whether a source has cost too much for what it gave.
func (f *fetch) wasteful(src Source) bool { return f.standing(src).wasted > 2*f.Index.Size() }

// take takes the first run of chunks that are missing from a source, and returns
// how many bytes of the file that has filled. They are added to account.
func (f *fetch) take(ctx context.Context, src Source, account *int64) (gained int64, err error) {
	s := f.standing(src)
	run := missing(f.Index, f.part.have, f.span)
	if s.noRanges {
		run = fromStart(f.part.have)
	}
	before, received := *account, f.progress.Received
	err = f.read(ctx, src, run, account)
	if errors.Is(err, ErrNoRanges) && run.first > 0 {
		s.noRanges = true
		err = f.read(ctx, src, fromStart(f.part.have), account)
	}
	if err != nil {
		err = fmt.Errorf("take chunks from %s: %w", src.Name(), err)
	}
	gained = *account - before
	s.wasted += max(f.progress.Received-received-gained, 0)
	return gained, err
}

// read reads a run of chunks, each of which counts when it is right.
func (f *fetch) read(ctx context.Context, src Source, run span, account *int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g := newGuard(f.Pace.Stall, cancel)
	defer g.timer.Stop()
	offset, length := run.bytes(f.Index)
	body, err := src.ReadRange(ctx, offset, length)
	if err != nil {
		return causeOr(ctx, err)
	}
	defer body.Close()
	g.r = io.LimitReader(body, length)
	for i := run.first; i < run.end; i++ {
		c := f.Index.chunks[i]
		data := f.buf[:c.length]
		n, err := io.ReadFull(g, data)
		f.progress.Received += int64(n)
		if err != nil {
			return fmt.Errorf("it ended %d bytes early: %w", length-(c.offset-offset)-int64(n), causeOr(ctx, err))
		}
		if f.part.have[i] {
			continue
		}
		sum := sha256.Sum256(data)
		if sum != c.sum {
			return fmt.Errorf("%w at %d to %d: SHA-256 %x, want %x", errWrong, c.offset, c.end(), sum, c.sum)
		}
		gained, err := f.part.put(data, sum)
		*account += gained
		if err != nil {
			return &writeError{err}
		}
		f.waited = 0
		f.report()
	}
	return nil
}

// causeOr prefers why a context ended to what came of it.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// guard cancels a source that gives too little in too long a time.
type guard struct {
	r     io.Reader
	timer *time.Timer
	stall time.Duration
	got   int
}

func newGuard(stall time.Duration, cancel context.CancelCauseFunc) *guard {
	return &guard{stall: stall, timer: time.AfterFunc(stall, func() {
		cancel(fmt.Errorf("it stalled: less than %d bytes in %v", drip, stall))
	})}
}

func (g *guard) Read(b []byte) (int, error) {
	n, err := g.r.Read(b)
	if g.got += n; g.got >= drip {
		g.got = 0
		g.timer.Reset(g.stall)
	}
	return n, err
}
