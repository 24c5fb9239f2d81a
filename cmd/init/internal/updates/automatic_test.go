package updates

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

func member(n byte, version string, change func(*Member)) Member {
	m := Member{Name: fmt.Sprint("node-", n), Key: identity.PublicKey{n}, Version: version, Reached: true}
	if change != nil {
		change(&m)
	}
	return m
}

func server(m *Member) { m.Server, m.Serving = true, true }

func TestTurn(t *testing.T) {
	self := member(5, "1.0.0", nil)
	for name, tt := range map[string]struct {
		self   Member
		others []Member
		want   string
	}{
		"alone":                        {self, nil, ""},
		"the first":                    {self, []Member{member(6, "1.0.0", nil)}, ""},
		"behind one":                   {self, []Member{member(4, "1.0.0", nil)}, "node-4"},
		"behind one that has it":       {self, []Member{member(4, "1.1.0", nil)}, ""},
		"behind one that has more":     {self, []Member{member(4, "2.0.0", nil)}, ""},
		"behind one of no version":     {self, []Member{member(4, "", nil)}, "node-4"},
		"behind a server":              {self, []Member{member(6, "1.0.0", server)}, "node-6"},
		"a server before agents":       {member(5, "1.0.0", server), []Member{member(4, "1.0.0", nil)}, ""},
		"a server that does not serve": {member(5, "1.0.0", server), []Member{member(6, "1.0.0", func(m *Member) { m.Server = true })}, "does not answer"},
		"the same, for an agent":       {self, []Member{member(6, "1.1.0", func(m *Member) { m.Server = true })}, ""},
		"one that reboots":             {self, []Member{member(4, "1.0.0", func(m *Member) { m.Reached, m.Silence = false, time.Minute })}, "node-4"},
		"one that is off":              {self, []Member{member(4, "1.0.0", func(m *Member) { m.Reached, m.Silence = false, 2*time.Hour })}, ""},
		"a server that is off": {member(5, "1.0.0", server), []Member{member(4, "1.0.0", func(m *Member) {
			m.Server, m.Reached, m.Silence = true, false, 2*time.Hour
		})}, ""},
	} {
		if got := turn(tt.self, tt.others, "1.1.0"); got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: waits for %q, want %q", name, got, tt.want)
		}
	}
}

// Whoever looks when, one node at a time goes down, all get there, and after one that
// rolls back no further one begins.
func TestTurnsOfMany(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		nodes := make([]Member, 2+r.IntN(8))
		for i := range nodes {
			nodes[i] = member(byte(r.IntN(250)), "1.0.0", nil)
			nodes[i].Key[1] = byte(i)
			if r.IntN(2) == 0 {
				server(&nodes[i])
			}
		}
		bad := -1
		if r.IntN(2) == 0 {
			bad = r.IntN(len(nodes))
		}
		down, failed, tried := -1, false, 0
		for range 2000 {
			if down >= 0 && r.IntN(3) == 0 { // it comes back
				nodes[down].Reached, nodes[down].Silence = true, 0
				nodes[down].Serving = nodes[down].Server
				if down != bad {
					nodes[down].Version = "1.1.0"
				}
				failed = failed || down == bad
				down = -1
			}
			i := r.IntN(len(nodes))
			if i == down || nodes[i].Version == "1.1.0" || failed && i == bad {
				continue
			}
			others := append(append([]Member{}, nodes[:i]...), nodes[i+1:]...)
			if turn(nodes[i], others, "1.1.0") != "" {
				continue
			}
			if down >= 0 {
				t.Fatalf("seed %d: %s goes down while %s is", seed, nodes[i].Name, nodes[down].Name)
			}
			if failed {
				t.Fatalf("seed %d: %s begins although the version was rolled back", seed, nodes[i].Name)
			}
			down, tried = i, tried+1
			nodes[i].Reached, nodes[i].Serving, nodes[i].Silence = false, false, time.Minute
		}
		if bad < 0 && tried != len(nodes) {
			t.Errorf("seed %d: %d of %d nodes were updated", seed, tried, len(nodes))
		}
	}
}
