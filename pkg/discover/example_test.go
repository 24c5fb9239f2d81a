package discover_test

import (
	"context"
	"fmt"
	"time"

	"github.com/digital-mycelium/os/pkg/discover"
	"github.com/digital-mycelium/os/pkg/identity"
)

// A newcomer looks for who admits it, for a minute at most.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	network := identity.NetworkOf(identity.GenerateKey().Public())
	found := make(chan discover.Hint, 1)
	l := discover.Listen(ctx, discover.Options{
		Network:    network,
		Flags:      func() discover.Flags { return discover.Flags{} },
		Interfaces: func() []string { return []string{"eth0"} },
	}, func(h discover.Hint) {
		if h.Flags.Issuer {
			select {
			case found <- h:
			default: // one is enough
			}
		}
	})
	select {
	case h := <-found:
		fmt.Println("ask", h.Address)
	case <-l.Done():
		fmt.Println("nobody answers", l.Counters())
	}
}
