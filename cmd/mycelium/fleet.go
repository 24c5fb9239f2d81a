package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

// nodeClient is what the command line asks of a node: *api.Client.
type nodeClient interface {
	Status(ctx context.Context) (*api.Status, error)
	WatchStatus(ctx context.Context, f func(*api.Status) error) error
	Events(ctx context.Context, opts api.EventOptions, f func(api.Event) error) error
	Processes(ctx context.Context) ([]api.Process, error)
	Time(ctx context.Context) (api.TimeStatus, error)
	Logs(ctx context.Context) ([]string, error)
	Log(ctx context.Context, name string, opts api.LogOptions) (io.ReadCloser, error)
	Metrics(ctx context.Context) (string, error)
	RestartService(ctx context.Context, name string) error
	Reboot(ctx context.Context) error
	Shutdown(ctx context.Context) error
	Reset(ctx context.Context, scope api.ResetScope, shutdown bool) error
	Install(ctx context.Context, o api.InstallOptions, progress func(api.InstallProgress)) error
	SupportBundle(ctx context.Context, recipients []string) (io.ReadCloser, error)
	Configuration(ctx context.Context) (document []byte, source string, err error)
	ApplyConfiguration(ctx context.Context, document []byte, dryRun bool) ([]config.Change, error)
	Kubeconfig(ctx context.Context) ([]byte, error)
	CheckUpdate(ctx context.Context) ([]api.AvailableUpdate, error)
	StageUpdate(ctx context.Context, version string, force bool) (staged string, err error)
	PushUpdate(ctx context.Context, statement []byte, r io.Reader) (staged string, err error)
	TryUpdate(ctx context.Context) error
	RollBackUpdate(ctx context.Context, reason string) error
	HoldUpdate(ctx context.Context, hold bool, reason string) error
	ForgiveUpdate(ctx context.Context, version string) error
	Members(ctx context.Context) ([]api.Peer, error)
	Invite(ctx context.Context, role identity.NodeRole, uses int, lifetime time.Duration) (identity.Token, error)
	Revoke(ctx context.Context, key identity.PublicKey) error
	AddStatements(ctx context.Context, s api.Statements) error
	Close()
}

// nodeRef is a node as the command line knows it.
type nodeRef struct {
	Name string
	// Key is zero for a node that was named by an address that nobody knows.
	Key  identity.PublicKey
	Role string
	// Addresses are where its machine API may be, "host:port".
	Addresses []string
	// Mesh is its address on the mesh; empty when it is not known.
	Mesh   string
	Issuer bool
}

func (n nodeRef) known() bool { return n.Key != identity.PublicKey{} }

// fleet is the nodes of a network, and the right to call them.
type fleet struct {
	name string
	// book is what this computer remembers.
	book []nodeRef
	// tls returns the configuration for calling the node with that key, or any
	// member when it is zero.
	tls func(peer identity.PublicKey) *tls.Config

	asked sync.Once
	heard []nodeRef // what the nodes themselves say
}

// openFleet takes up the nodes of the chosen network. Other programs can use the
// network meanwhile.
func (f *contextFlags) openFleet(cmd *cobra.Command) (*fleet, error) {
	n, err := f.open(cmd)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	cert, err := n.TLS()
	if err != nil {
		return nil, fmt.Errorf("open the network %q: %w", n.Name, err)
	}
	verifier := n.Verifier.Detached()
	fl := &fleet{name: n.Name, tls: func(peer identity.PublicKey) *tls.Config {
		return verifier.ClientTLS(identity.TLSOptions{
			Certificate: func() (*tls.Certificate, error) { return &cert, nil },
			Peer:        peer,
		})
	}}
	for _, d := range n.Nodes() {
		fl.book = append(fl.book, nodeRef{Name: d.Name, Key: d.Key, Addresses: d.Addresses})
	}
	return fl, nil
}

// client returns a client for a node. The caller must close it.
func (f *fleet) client(ctx context.Context, n nodeRef) (nodeClient, error) {
	if len(n.Addresses) == 0 {
		return nil, errors.New("nobody has said where it can be reached: name it by its address (-n ADDRESS)")
	}
	return api.NewClient(api.ClientConfig{Address: reachable(ctx, n.Addresses), TLS: f.tls(n.Key)})
}

// dialTime is how long an address may take to answer when there is another one.
const dialTime = 3 * time.Second

// reachable returns the address that answers first, the first one if none does.
// Who answers there the TLS handshake tells.
func reachable(ctx context.Context, addresses []string) string {
	if len(addresses) == 1 {
		return addresses[0]
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	answers := make(chan string, len(addresses))
	for _, a := range addresses {
		go func() {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", a)
			if err != nil {
				answers <- ""
				return
			}
			_ = c.Close()
			answers <- a
		}()
	}
	for range addresses {
		if a := <-answers; a != "" {
			return a
		}
	}
	return addresses[0]
}

// known returns all nodes that this computer or a node knows, in the order of
// their names.
func (f *fleet) known(ctx context.Context) []nodeRef {
	f.asked.Do(func() { f.heard = f.ask(ctx) })
	out := merge(f.book, f.heard)
	slices.SortFunc(out, func(a, b nodeRef) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), slices.Compare(a.Key[:], b.Key[:]))
	})
	return out
}

// merge returns the nodes of the book, with what the members say of them, and
// those that only members know of.
func merge(book, heard []nodeRef) []nodeRef {
	out := slices.Clone(book)
	for _, h := range heard {
		i := slices.IndexFunc(out, func(n nodeRef) bool { return n.Key == h.Key })
		if i < 0 {
			out = append(out, h)
			continue
		}
		// The addresses in the book have worked from here; what others use may not.
		if len(out[i].Addresses) > 0 {
			h.Addresses = out[i].Addresses
		}
		h.Name, h.Role, h.Mesh = cmp.Or(h.Name, out[i].Name), cmp.Or(h.Role, out[i].Role), cmp.Or(h.Mesh, out[i].Mesh)
		out[i] = h
	}
	return out
}

// membersTime is how long a node may take to say whom it knows, when others can
// be asked instead.
const membersTime = 5 * time.Second

// ask asks the nodes of the book whom they know, and takes the first answer:
// members tell each other.
func (f *fleet) ask(ctx context.Context) []nodeRef {
	if len(f.book) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, membersTime)
	defer cancel()
	answers := make(chan []nodeRef, len(f.book))
	for _, n := range f.book {
		go func() { answers <- f.membersOf(ctx, n) }()
	}
	for range f.book {
		if refs := <-answers; len(refs) > 0 {
			return refs
		}
	}
	return nil
}

// membersOf returns nothing for a node that does not answer.
func (f *fleet) membersOf(ctx context.Context, n nodeRef) []nodeRef {
	c, err := f.client(ctx, n)
	if err != nil {
		return nil
	}
	defer c.Close()
	peers, err := c.Members(ctx)
	if err != nil {
		return nil
	}
	var out []nodeRef
	for _, p := range peers {
		if key, err := identity.ParsePublicKey(p.Key); err == nil {
			out = append(out, nodeRef{Name: p.Name, Key: key, Role: p.Role, Addresses: apiAddress(p.Endpoint), Mesh: p.Address, Issuer: p.Issuer})
		}
	}
	return out
}

// apiAddress is where the machine API of a node is whose mesh is at endpoint.
func apiAddress(endpoint string) []string {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil
	}
	return []string{net.JoinHostPort(host, strconv.Itoa(api.Port))}
}

// find returns the node that a person means by word: a name, a key or an address.
func (f *fleet) find(ctx context.Context, word string) (nodeRef, error) {
	address := withPort(word)
	match := func(nodes []nodeRef) []nodeRef {
		var out []nodeRef
		for _, n := range nodes {
			if n.Name == word || n.Key.String() == word || slices.Contains(n.Addresses, address) || n.Mesh != "" && n.Mesh == word {
				out = append(out, n)
			}
		}
		return out
	}
	found := match(f.book)
	if len(found) != 1 {
		found = match(f.known(ctx))
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		text := fmt.Sprintf("%d nodes of %q are called %q: name one by its key:", len(found), f.name, word)
		for _, n := range found {
			text += fmt.Sprintf("\n  %s  %s", n.Key, cmp.Or(strings.Join(n.Addresses, " "), "no address known"))
		}
		return nodeRef{}, fmt.Errorf("%s", text)
	case strings.ContainsAny(word, ".:") && !strings.ContainsAny(word, "/ "):
		return nodeRef{Name: word, Addresses: []string{address}}, nil
	}
	names := refNames(f.known(ctx))
	if len(names) == 0 {
		names = []string{"none"}
	}
	return nodeRef{}, fmt.Errorf("%q has no node %q; known are: %s. An address serves too (-n 192.168.1.20)", f.name, word, strings.Join(names, ", "))
}

// withPort adds the machine API's port to an address that has none.
func withPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), strconv.Itoa(api.Port))
}

func refNames(nodes []nodeRef) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return out
}

func containsRef(nodes []nodeRef, n nodeRef) bool {
	return slices.ContainsFunc(nodes, func(o nodeRef) bool { return o.Key == n.Key && slices.Equal(o.Addresses, n.Addresses) })
}
