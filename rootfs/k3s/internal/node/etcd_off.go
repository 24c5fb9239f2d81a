//go:build !etcd

package node

import (
	"context"
	"errors"
	"sync"

	"github.com/k3s-io/k3s/pkg/daemons/executor"
)

// startETCD fails unless cfg is nil, which says that kine is the datastore.
func startETCD(_ context.Context, _ *sync.WaitGroup, cfg *executor.ETCDConfig, _ []string) error {
	if cfg == nil {
		return nil
	}
	return errors.New("this build has no embedded etcd: a cluster of several servers needs the etcd build")
}
