package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A network of machines that fetch one file at once, in virtual time.
type crowd struct {
	file  []byte
	index *Index
	loss  float64 // of questions and of answers midway

	mu     sync.Mutex
	rng    *rand.Rand
	nodes  []*node
	server map[int]int64 // bytes by node
}

type node struct {
	crowd *crowd
	id    int
	state PeerState
	dead  bool
	kill  context.CancelFunc
}

func (c *crowd) chance(p float64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Float64() < p
}

func (c *crowd) time(limit time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.rng.Int64N(int64(limit) + 1))
}

// link is the way from one node to another, or to the server (to is nil).
type link struct {
	from, to *node
}

func (l link) Name() string {
	if l.to == nil {
		return "server"
	}
	return fmt.Sprint("node ", l.to.id)
}

func (l link) Before() bool { return l.to.id < l.from.id }

func (l link) get() (PeerState, bool) {
	c := l.from.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	return l.to.state, l.to.dead
}

func (l link) State(ctx context.Context) (PeerState, error) {
	c := l.from.crowd
	if err := sleep(ctx, c.time(30*time.Millisecond)); err != nil {
		return PeerState{}, err
	}
	state, dead := l.get()
	if dead || c.chance(c.loss) {
		<-ctx.Done()
		return PeerState{}, ctx.Err()
	}
	return state, nil
}

func (l link) ReadRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	c := l.from.crowd
	rate := 64 << 10 // bytes a second
	if l.to != nil {
		rate = 4 << 20
		if state, dead := l.get(); dead || state.Phase != Whole {
			return nil, errors.New("refused")
		}
	}
	if c.chance(c.loss) {
		length /= 2 // and then the connection breaks
	}
	return &flow{link: l, ctx: ctx, r: io.NewSectionReader(bytes.NewReader(c.file), offset, length), rate: rate}, nil
}

// flow is an answer at the rate of its link.
type flow struct {
	link
	ctx  context.Context
	r    io.Reader
	rate int
}

func (f *flow) Close() error { return nil }

func (f *flow) Read(b []byte) (int, error) {
	n, err := f.r.Read(b[:min(len(b), 16<<10)])
	if err := sleep(f.ctx, time.Duration(n)*time.Second/time.Duration(f.rate)); err != nil {
		return 0, err
	}
	c := f.from.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.to == nil {
		c.server[f.from.id] += int64(n)
	} else if f.to.dead {
		return 0, errors.New("reset")
	}
	return n, err
}

// run is one node's fetch.
func (n *node) run(ctx context.Context, dir string, peers []Peer) (*File, error) {
	return Fetch(ctx, Config{
		Index: n.crowd.index, Dir: dir, Server: link{from: n}, span: 64 << 10,
		Peers: peersOf(peers...),
		Progress: func(p Progress) {
			n.crowd.mu.Lock()
			defer n.crowd.mu.Unlock()
			n.state = p.State()
		},
	})
}

// scenario is one simulation.
type scenario struct {
	nodes   int
	stagger time.Duration // between the first and the last start, by chance
	deaths  int           // of the leader, when it has begun
	loss    float64
	// copies is how many the server may send to those that live.
	copies float64
}

func TestCrowd(t *testing.T) {
	file := random(1, 2<<20)
	x := index(t, file)
	for _, s := range []scenario{
		{nodes: 3, copies: 1},
		{nodes: 3, stagger: time.Second, copies: 1.2},
		{nodes: 3, stagger: time.Minute, copies: 1.2},
		{nodes: 3, stagger: time.Minute, loss: 0.05, copies: 1.2},
		{nodes: 3, stagger: time.Minute, loss: 0.2, copies: 2},
		{nodes: 3, deaths: 1, copies: 1.2},
		{nodes: 10, copies: 1},
		{nodes: 10, stagger: time.Second, copies: 1.2},
		{nodes: 10, stagger: time.Minute, copies: 1.2},
		{nodes: 10, stagger: time.Minute, loss: 0.2, copies: 2.5},
		{nodes: 10, stagger: time.Minute, deaths: 1, copies: 1.2},
		{nodes: 10, deaths: 3, loss: 0.05, copies: 2},
	} {
		for seed := range uint64(5) {
			synctest.Test(t, func(t *testing.T) { s.simulate(t, file, x, seed) })
		}
	}
}

func (s scenario) simulate(t *testing.T, file []byte, x *Index, seed uint64) {
	c := &crowd{file: file, index: x, loss: s.loss, rng: rand.New(rand.NewPCG(seed, 1)), server: map[int]int64{}}
	for i := range s.nodes {
		c.nodes = append(c.nodes, &node{crowd: c, id: i, state: PeerState{Phase: None}})
	}
	dir := t.TempDir()
	start := time.Now()
	var group sync.WaitGroup
	for _, n := range c.nodes {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n.kill = cancel
		var peers []Peer
		for _, other := range c.nodes {
			if other != n {
				peers = append(peers, link{n, other})
			}
		}
		delay := c.time(s.stagger)
		group.Go(func() {
			time.Sleep(delay)
			f, err := n.run(ctx, filepath.Join(dir, fmt.Sprint(n.id)), peers)
			c.mu.Lock()
			defer c.mu.Unlock()
			if n.dead {
				return
			}
			n.state = PeerState{Phase: Whole}
			if err != nil {
				t.Errorf("%+v seed %d: node %d: %v", s, seed, n.id, err)
				return
			}
			holds(t, f, file)
			_ = f.Close()
		})
	}
	for range s.deaths {
		group.Go(func() {
			time.Sleep(s.stagger + c.time(20*time.Second)) // the file takes half a minute
			c.killLeader()
		})
	}
	group.Wait()
	alive, all := int64(0), int64(0)
	for i, n := range c.nodes {
		all += c.server[i]
		if !n.dead {
			alive += c.server[i]
		}
	}
	copies := float64(alive) / float64(x.Size())
	t.Logf("%d nodes within %v, %d deaths, loss %.1f, seed %d: %.2f copies to those that live, %.2f in all, in %v", s.nodes, s.stagger, s.deaths, s.loss, seed,
		copies, float64(all)/float64(x.Size()), time.Since(start).Round(time.Second))
	if copies > s.copies || float64(all)/float64(x.Size()) > s.copies+float64(s.deaths) {
		t.Errorf("%+v seed %d: the server sent %.2f copies to those that live, want at most %.1f", s, seed, copies, s.copies)
	}
}

// killLeader ends the node that leads, without a word.
func (c *crowd) killLeader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.state.Leading && !n.dead {
			n.dead = true
			n.kill()
			return
		}
	}
}
