package networks

import (
	"reflect"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/identity"
)

func TestNodes(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	n := open(t, s, "home")
	a, b := identity.GenerateKey().Public(), identity.GenerateKey().Public()
	second := Node{Name: "two", Key: b, Addresses: []string{"192.0.2.1:6440", "[2001:db8::1]:6440"}}
	noErr(t, n.PutNode(second))
	noErr(t, n.PutNode(Node{Name: "one", Key: a}))
	first := Node{Name: "one", Key: a, Addresses: []string{"one.example:6440"}}
	noErr(t, n.PutNode(first)) // it has an address now
	n.Nodes()[0].Addresses[0] = "changed by the caller"
	for _, bad := range []Node{
		{Name: "no-key"},
		{Name: "One", Key: a},
		{Name: "one", Key: a, Addresses: []string{"192.0.2.1"}},
		{Name: "one", Key: a, Addresses: []string{":6440"}},
	} {
		if err := n.PutNode(bad); err == nil {
			t.Errorf("remembered %+v", bad)
		}
	}
	access, err := n.Grant("bob", identity.Reader, id.Recipient())
	noErr(t, err)
	n.Close()
	bob := &Store{Dir: t.TempDir()}
	_, err = bob.Import(t.Context(), "", access, id)
	noErr(t, err)
	for _, store := range []*Store{s, bob} { // who is given access knows them as well
		n = open(t, store, "home")
		if got := n.Nodes(); !reflect.DeepEqual(got, []Node{first, second}) {
			t.Errorf("nodes %+v", got)
		}
		noErr(t, n.RemoveNode(a))
		noErr(t, n.RemoveNode(a))
		n.Close()
		n = open(t, store, "home")
		if got := n.Nodes(); !reflect.DeepEqual(got, []Node{second}) {
			t.Errorf("nodes %+v", got)
		}
		noErr(t, n.RemoveNode(b))
		n.Close()
	}
}

func TestParseNodes(t *testing.T) {
	key := identity.GenerateKey().Public().String()
	one := `{"name":"a","key":"` + key + `","addresses":["h:1"]}`
	for _, good := range []string{"[]", "[" + one + "]\n"} {
		if _, err := parseNodes([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"":                                "EOF",
		"{}":                              "cannot unmarshal",
		"[] []":                           "follows",
		"[" + one + "," + one + "]":       "twice",
		`[{"name":"a"}]`:                  "no key",
		`[{"name":"a","role":"x"}]`:       "unknown field",
		strings.Replace(one, "a", "?", 1): "cannot unmarshal",
	} {
		if _, err := parseNodes([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", bad, err, want)
		}
	}
}

func FuzzParseNodes(f *testing.F) {
	f.Add([]byte(`[{"name":"a","key":"` + identity.GenerateKey().Public().String() + `","addresses":["h:1"]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		nodes, err := parseNodes(data)
		if err != nil {
			return
		}
		again, err := encodeNodes(nodes)
		noErr(t, err)
		if _, err := parseNodes(again); err != nil {
			t.Fatalf("%q was read and written as %q: %v", data, again, err)
		}
	})
}
