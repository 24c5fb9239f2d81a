package identity

import "fmt"

// APIRole is what a member may ask of a machine API. Each role includes the
// ones before it.
type APIRole uint8

// The roles of the machine API.
const (
	NoAPI    APIRole = iota
	Reader           // see state and logs
	Operator         // and operate: restart, update, load
	Admin            // and change configuration and membership
)

// NodeRole is the most that a node may be in the network. Each role includes
// the ones before it.
type NodeRole uint8

// The roles of nodes.
const (
	NoNode NodeRole = iota // an operator's key, not a node's
	Client                 // in the mesh, without a kubelet (Hypha)
	Agent                  // K3s agent (Rhizomorph)
	Server                 // K3s server (Sclerotium)
)

var (
	apiRoles  = [...]string{"none", "reader", "operator", "admin"}
	nodeRoles = [...]string{"none", "client", "agent", "server"}
)

// Caps is what a certificate allows, or the most that an issuer or an invite
// may grant.
type Caps struct {
	_    struct{} `cbor:",toarray"`
	API  APIRole
	Node NodeRole
}

// Within reports whether c allows nothing that limit does not.
func (c Caps) Within(limit Caps) bool { return c.API <= limit.API && c.Node <= limit.Node }

// String returns, for example, "api reader, node agent".
func (c Caps) String() string { return fmt.Sprintf("api %s, node %s", c.API, c.Node) }

func (c Caps) check() error {
	switch {
	case int(c.API) >= len(apiRoles) || int(c.Node) >= len(nodeRoles):
		return fmt.Errorf("unknown role (api %d, node %d): this program is too old for it", uint8(c.API), uint8(c.Node))
	case c == Caps{}:
		return fmt.Errorf("it allows nothing: name an API role or a node role")
	}
	return nil
}

// String returns the name: none, reader, operator or admin.
func (r APIRole) String() string { return roleName(apiRoles[:], uint8(r)) }

// MarshalText implements encoding.TextMarshaler with String.
func (r APIRole) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler for the names.
func (r *APIRole) UnmarshalText(text []byte) error {
	v, err := roleByName(apiRoles[:], string(text))
	*r = APIRole(v)
	return err
}

// String returns the name: none, client, agent or server.
func (r NodeRole) String() string { return roleName(nodeRoles[:], uint8(r)) }

// MarshalText implements encoding.TextMarshaler with String.
func (r NodeRole) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler for the names.
func (r *NodeRole) UnmarshalText(text []byte) error {
	v, err := roleByName(nodeRoles[:], string(text))
	*r = NodeRole(v)
	return err
}

func roleName(names []string, v uint8) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("role(%d)", v)
}

func roleByName(names []string, s string) (uint8, error) {
	for i, n := range names {
		if n == s {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("%w: role %.40q (want one of %v)", ErrMalformed, s, names)
}
