package membership

import (
	"net"
	"strconv"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/mesh"
)

// Other is another node of the network.
type Other struct {
	Name string
	Key  identity.PublicKey
	Role identity.NodeRole
	// OS is what it says that it runs; empty when it has not announced itself.
	OS string
	// Serving says that Kubernetes answers on it.
	Serving bool
	// Handshake is the mesh's last with it; zero when there was none.
	Handshake time.Time
	// Address is of its machine API, on the mesh.
	Address string
}

// Others returns the other nodes of the network, by the directory's order.
func (m *Membership) Others() []Other {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.b == nil {
		return nil
	}
	seen := map[mesh.Key]time.Time{}
	if m.mesh != nil {
		status, err := m.mesh.Status()
		if err != nil {
			m.log.Warn("the mesh does not tell its state", "error", err)
		}
		for _, p := range status {
			seen[p.Key] = p.LastHandshake
		}
	}
	var list []Other
	for _, other := range m.b.members.Members() {
		if other.Key == m.b.cert.Key || other.Caps.Node == identity.NoNode {
			continue
		}
		list = append(list, Other{
			Name: other.Name, Key: other.Key, Role: other.Caps.Node, OS: other.OS, Serving: other.Serving,
			Handshake: seen[other.Mesh], Address: net.JoinHostPort(other.Address.String(), strconv.Itoa(api.Port)),
		})
	}
	return list
}

// Client returns a client of the machine API of the member with a key. The caller
// closes it.
func (m *Membership) Client(other Other) (*api.Client, error) {
	return m.client(other.Address, other.Key)
}
