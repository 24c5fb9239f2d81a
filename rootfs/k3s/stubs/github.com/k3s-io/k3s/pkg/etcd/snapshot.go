// Package etcd runs the embedded etcd. This file stands in for its snapshots and
// their uploads: what they cost in programs and on small disks buys little
// where every server holds a copy.
package etcd

import (
	"context"
	"errors"

	"github.com/k3s-io/k3s/pkg/cluster/managed"
)

// errNoSnapshots is the answer to everything that would save or restore a
// snapshot of the database.
var errNoSnapshots = errors.New("this build has no etcd snapshots: pass --etcd-disable-snapshots and leave out --cluster-reset-restore-path")

// Snapshot fails.
func (e *ETCD) Snapshot(context.Context) (*managed.SnapshotResult, error) {
	return nil, errNoSnapshots
}

// ReconcileSnapshotData fails.
func (e *ETCD) ReconcileSnapshotData(context.Context) error { return errNoSnapshots }

// Restore fails.
func (e *ETCD) Restore(context.Context) error { return errNoSnapshots }
