package node

import (
	"context"
	"sync"

	"github.com/k3s-io/k3s/pkg/daemons/executor"
	"github.com/k3s-io/k3s/pkg/executor/embed/etcd"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// walSegment is how many bytes etcd allocates at once for its log, twice: the
// segment in use and the next one. Its own 64 MB are much on a small disk, and
// a node writes some MB in an hour.
const walSegment = 16_000_000

// startETCD starts the member of this node, unless cfg is nil, which says that
// kine is the datastore.
func startETCD(ctx context.Context, wg *sync.WaitGroup, cfg *executor.ETCDConfig, args []string) error {
	wal.SegmentSizeBytes = walSegment
	return etcd.StartETCD(ctx, wg, cfg, args)
}
