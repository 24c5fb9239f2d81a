package discover

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

const (
	lookEvery  = 10 * time.Second // at the interfaces
	hintsMost  = 32               // a second; further ones are dropped
	queueMost  = 64               // packets of one's own network that wait to be looked at
	recentMost = 256              // packets that are known again
)

// Options says for whom and where to look. All but Log must be set.
type Options struct {
	Network identity.NetworkID
	// Flags returns what this node is at present.
	Flags func() Flags
	// Interfaces returns the names of the interfaces to look on at present. They may
	// come and go. It is asked every 10 seconds.
	Interfaces func() []string
	Log        *slog.Logger // nil for none
}

// Hint is a node of the network that was heard. An IPv6 address has the zone of
// the interface.
type Hint struct {
	Address netip.Addr
	Flags   Flags
}

// Counters count datagrams since the start.
type Counters struct {
	Heard     uint64 // of one's own network, new
	Repeated  uint64 // heard before
	Foreign   uint64 // of another network
	Malformed uint64 // anything else, other versions included
	Dropped   uint64 // of one's own network, but too many at once
	Sent      uint64
}

// Listener is a discovery under way.
type Listener struct {
	o      Options
	prefix prefix
	found  func(Hint)
	system system
	every  time.Duration
	done   chan struct{}
	queue  chan event
	recent [recentMost]atomic.Uint64

	heard, repeated, foreign, malformed, dropped, sent atomic.Uint64

	// of the goroutine run alone
	sockets map[place]*socket
	told    map[place]bool // failures that are logged
	hints   struct {
		second int64
		count  int
	}
	readers sync.WaitGroup
}

// system is the part of the operating system that is needed.
type system interface {
	look(name string) (sight, error)
	open(name string, index int, f family) (*net.UDPConn, error)
}

// place is where a socket is.
type place struct {
	name string
	family
}

type socket struct {
	place
	sight
	pace
	conn *net.UDPConn
}

// event is a packet of one's own network, or the end of a socket.
type event struct {
	packet
	from  netip.Addr
	at    *socket
	ended bool
}

// Listen looks for the network's nodes until ctx ends, and tells found of each
// one as often as it is heard: found is called by one goroutine, must not block
// and must cope with addresses that are made up, up to 32 a second.
func Listen(ctx context.Context, o Options, found func(Hint)) *Listener {
	return listen(ctx, o, found, kernel{}, lookEvery)
}

func listen(ctx context.Context, o Options, found func(Hint), s system, every time.Duration) *Listener {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := newListener(o, found, s, every)
	go l.run(ctx)
	return l
}

func newListener(o Options, found func(Hint), s system, every time.Duration) *Listener {
	return &Listener{
		o: o, prefix: prefixOf(o.Network), found: found, system: s, every: every,
		done: make(chan struct{}), queue: make(chan event, queueMost),
		sockets: map[place]*socket{}, told: map[place]bool{},
	}
}

// Done returns a channel that is closed when ctx has ended and everything is closed.
func (l *Listener) Done() <-chan struct{} { return l.done }

// Counters returns what was heard so far.
func (l *Listener) Counters() Counters {
	return Counters{
		Heard: l.heard.Load(), Repeated: l.repeated.Load(), Foreign: l.foreign.Load(),
		Malformed: l.malformed.Load(), Dropped: l.dropped.Load(), Sent: l.sent.Load(),
	}
}

func (l *Listener) run(ctx context.Context) {
	defer close(l.done)
	look := time.NewTicker(l.every)
	defer look.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	l.look(ctx, time.Now())
	for {
		timer.Reset(time.Until(l.next()))
		select {
		case <-ctx.Done():
			for _, s := range l.sockets {
				l.close(s)
			}
			l.readers.Wait()
			return
		case <-look.C:
			l.look(ctx, time.Now())
		case e := <-l.queue:
			l.handle(e, time.Now())
		case <-timer.C:
			l.send(time.Now())
		}
	}
}

func (l *Listener) next() time.Time {
	at := time.Now().Add(l.every)
	for _, s := range l.sockets {
		if n := s.next(); n.Before(at) {
			at = n
		}
	}
	return at
}

// look opens and closes sockets as interfaces come and go.
func (l *Listener) look(ctx context.Context, now time.Time) {
	names := l.o.Interfaces()
	for p, s := range l.sockets {
		if !slices.Contains(names, p.name) {
			l.close(s)
		}
	}
	for _, name := range names {
		at, err := l.system.look(name)
		for _, f := range [...]family{ipv4, ipv6} {
			p := place{name, f}
			s := l.sockets[p]
			usable := err == nil && at.up && (f == ipv6 || at.ipv4)
			switch {
			case s != nil && (!usable || s.index != at.index):
				l.close(s)
				if usable {
					l.open(ctx, p, at, now)
				}
			case s == nil && usable:
				l.open(ctx, p, at, now)
			case s != nil && s.addresses != at.addresses:
				s.sight, s.pace = at, newPace(now, rand.Float64())
			}
		}
	}
}

func (l *Listener) open(ctx context.Context, p place, at sight, now time.Time) {
	conn, err := l.system.open(p.name, at.index, p.family)
	if err != nil {
		if !l.told[p] {
			l.o.Log.Warn("no discovery", "interface", p.name, "family", p.family, "error", err)
		}
		l.told[p] = true
		return
	}
	delete(l.told, p)
	s := &socket{place: p, sight: at, pace: newPace(now, rand.Float64()), conn: conn}
	l.sockets[p] = s
	l.readers.Go(func() { l.read(ctx, s) })
}

func (l *Listener) close(s *socket) {
	_ = s.conn.Close() // nothing is lost that was sent
	delete(l.sockets, s.place)
}

// read receives until the socket is closed.
func (l *Listener) read(ctx context.Context, s *socket) {
	var buffer [2 * packetLen]byte // what is longer is cut, and still too long
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buffer[:])
		if err != nil {
			select {
			case l.queue <- event{at: s, ended: true}:
			case <-ctx.Done():
			}
			return
		}
		l.receive(buffer[:n], from.Addr().Unmap(), s)
	}
}

// receive looks at a datagram. Unless it is a new one of one's own network it
// is counted and forgotten without an allocation.
func (l *Listener) receive(b []byte, from netip.Addr, s *socket) {
	p, v := l.prefix.decode(b)
	switch {
	case v == foreign:
		l.foreign.Add(1)
	case v == malformed:
		l.malformed.Add(1)
	case l.known(p.id):
		l.repeated.Add(1)
	default:
		l.heard.Add(1)
		select {
		case l.queue <- event{packet: p, from: from, at: s}:
		default:
			l.dropped.Add(1)
		}
	}
}

// known remembers a packet and reports whether it was remembered already.
func (l *Listener) known(id uint64) bool {
	return l.recent[id%recentMost].Swap(id) == id
}

// handle takes up what receive let through.
func (l *Listener) handle(e event, now time.Time) {
	s := e.at
	if l.sockets[s.place] != s { // closed meanwhile
		return
	}
	switch {
	case e.ended:
		l.close(s)
	case e.kind == kindQuery:
		s.asked(now, rand.Float64())
	case e.kind == kindHere:
		s.found(l.o.Flags().Member)
		if e.from.Is6() && e.from.IsLinkLocalUnicast() {
			e.from = e.from.WithZone(s.name)
		}
		if l.allow(now) {
			l.found(Hint{e.from, e.flags})
		}
	}
}

// allow reports whether one more hint may be told in this second.
func (l *Listener) allow(now time.Time) bool {
	if s := now.Unix(); s != l.hints.second {
		l.hints.second, l.hints.count = s, 0
	}
	if l.hints.count++; l.hints.count > hintsMost {
		l.dropped.Add(1)
		return false
	}
	return true
}

// send sends what is due.
func (l *Listener) send(now time.Time) {
	flags := l.o.Flags()
	for _, s := range l.sockets {
		query, here := s.due(now, flags.Member, rand.Float64())
		if query && !l.write(s, kindQuery, flags) {
			s.failed(now, true, false)
		}
		if here && !l.write(s, kindHere, flags) {
			s.failed(now, false, true)
		}
	}
}

// write fails while an interface has no address yet, or no carrier.
func (l *Listener) write(s *socket, kind byte, flags Flags) bool {
	id := rand.Uint64()
	l.known(id)
	b := l.prefix.encode(packet{kind, flags, id})
	if _, err := s.conn.WriteToUDPAddrPort(b[:], groups[s.family]); err != nil {
		return false
	}
	l.sent.Add(1)
	return true
}
