//go:build etcd

package node

import (
	"context"
	"sync"

	"github.com/k3s-io/k3s/pkg/daemons/executor"
	"github.com/k3s-io/k3s/pkg/executor/embed/etcd"
)

func startETCD(ctx context.Context, wg *sync.WaitGroup, cfg *executor.ETCDConfig, args []string) error {
	return etcd.StartETCD(ctx, wg, cfg, args)
}
