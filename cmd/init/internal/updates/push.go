package updates

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/update"
)

// Push stages an OS file for which a developer's key speaks.
func (a *Agent) Push(ctx context.Context, statement []byte, r io.Reader) (string, error) {
	file, err := a.admit(statement)
	if err != nil {
		return "", err
	}
	end, err := a.begin()
	if err != nil {
		return "", err
	}
	defer end()
	release := update.Release{Version: file.Version, Digest: hex.EncodeToString(file.Digest[:]), Size: int64(file.Size)}
	return a.staging(func() (string, error) {
		// A developer pushes the same version again and again: he knows that it has failed.
		return file.Version, a.install(ctx, release, r, true, file.Downgrade, func(s *api.UpdateActivity, n uint64) { s.Peers = n })
	})
}

// admit reads a statement and says why this node does not follow it.
func (a *Agent) admit(statement []byte) (*identity.OSFile, error) {
	file, err := identity.Parse[identity.OSFile](statement)
	if err != nil {
		return nil, err
	}
	switch {
	case file.Network != a.o.Network():
		return nil, fmt.Errorf("%w: the OS file is for the network %s: sign it for this one", identity.ErrWrongNetwork, file.Network)
	case !slices.Contains(a.o.Config().Developers, file.Key.String()):
		return nil, fmt.Errorf("%w: %s may not push an OS file: its key is not under update.developers of the node's configuration", identity.ErrRole, file.Key)
	case a.o.Now().After(file.NotAfter):
		return nil, fmt.Errorf("%w: the statement ended at %s: sign it again", identity.ErrExpired, file.NotAfter)
	case file.Board != a.o.Board:
		return nil, fmt.Errorf("%w: the OS file is for the board %s, this machine is %s", api.ErrInvalid, file.Board, a.o.Board)
	case file.Size > api.MaxOSFile:
		return nil, fmt.Errorf("%w: the OS file has %d bytes, at most %d fit a slot", api.ErrInvalid, file.Size, int64(api.MaxOSFile))
	}
	return file, nil
}
