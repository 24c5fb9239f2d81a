// Package etcd stands in for K3s' embedded etcd in builds without the etcd
// tag: everything that only a cluster with several servers needs fails with
// an error that says so.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/k3s-io/k3s/pkg/clientaccess"
	"github.com/k3s-io/k3s/pkg/cluster/managed"
	"github.com/k3s-io/k3s/pkg/daemons/config"
	kine "github.com/k3s-io/kine/pkg/app"
	"github.com/k3s-io/kine/pkg/endpoint"
)

var (
	// ErrAddressNotSet is what callers compare with; never returned here.
	ErrAddressNotSet = errors.New("apiserver addresses not yet set")

	errAbsent = errors.New("this build has no embedded etcd: a cluster of several servers needs the etcd build")
)

// emulatedVersion is the etcd version that kine claims to be. Kubernetes asks
// for it to decide on watch progress requests (3.4.25 and newer have them).
const emulatedVersion = "3.6.7"

// idleConnections to SQLite stay open, where database/sql keeps two: opening
// one costs as much as many queries, and prepared statements belong to it.
const idleConnections = 8

// DefaultEndpointConfig returns kine's configuration for the built-in SQLite.
func DefaultEndpointConfig() endpoint.Config {
	config := kine.Config([]string{
		"--listen-address=" + endpoint.KineSocket,
		"--emulated-etcd-version=" + emulatedVersion,
		"--compact-interval=0s",
	})
	config.ConnectionPoolConfig.MaxIdle = idleConnections
	return config
}

// Proxy forwards to etcd members.
type Proxy interface {
	Update(addresses []string)
}

// NewETCDProxy fails.
func NewETCDProxy(ctx context.Context, supervisorPort int, dataDir, etcdURL string, isIPv6 bool) (Proxy, error) {
	return nil, errAbsent
}

// Members is the member list of a cluster.
type Members struct{}

// ClientURLs fails.
func ClientURLs(ctx context.Context, info *clientaccess.Info, selfIP string) ([]string, Members, error) {
	return nil, Members{}, errAbsent
}

// GetAPIServerURLsFromETCD fails.
func GetAPIServerURLsFromETCD(ctx context.Context, cfg *config.Control) ([]string, error) {
	return nil, errAbsent
}

// ETCD is the managed datastore that is absent.
type ETCD struct {
	dataDir string
}

var _ managed.Driver = (*ETCD)(nil)

// NewETCD returns a driver that refuses to start.
func NewETCD() *ETCD { return &ETCD{} }

// SetControlConfig remembers where etcd's data would be.
func (e *ETCD) SetControlConfig(config *config.Control) error {
	e.dataDir = filepath.Join(config.DataDir, "db", "etcd")
	return nil
}

// IsInitialized fails when an etcd build left its data here, so that the
// server does not start beside them with an empty database.
func (e *ETCD) IsInitialized() (bool, error) {
	if _, err := os.Stat(filepath.Join(e.dataDir, "member")); err == nil {
		return false, fmt.Errorf("%s holds the data of an embedded etcd: %w", e.dataDir, errAbsent)
	}
	return false, nil
}

// The rest of managed.Driver fails or does nothing.

func (e *ETCD) Register(h http.Handler) (http.Handler, error)                    { return h, errAbsent }
func (e *ETCD) Reset(context.Context, *sync.WaitGroup, func() error) error       { return errAbsent }
func (e *ETCD) IsReset() (bool, error)                                           { return false, nil }
func (e *ETCD) ResetFile() string                                                { return "" }
func (e *ETCD) Start(context.Context, *sync.WaitGroup, *clientaccess.Info) error { return errAbsent }
func (e *ETCD) Restore(context.Context) error                                    { return errAbsent }
func (e *ETCD) EndpointName() string                                             { return "etcd" }
func (e *ETCD) Snapshot(context.Context) (*managed.SnapshotResult, error)        { return nil, errAbsent }
func (e *ETCD) ReconcileSnapshotData(context.Context) error                      { return errAbsent }
func (e *ETCD) GetMembersClientURLs(context.Context) ([]string, error)           { return nil, errAbsent }
func (e *ETCD) RemoveSelf(context.Context) error                                 { return errAbsent }
func (e *ETCD) Test(context.Context, bool) error                                 { return errAbsent }
