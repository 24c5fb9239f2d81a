package api

import (
	"context"
	"io"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
)

// CheckUpdate lets the node ask its release server and returns what that offers
// it, newest first. ErrConflict says that the node has none, or no slots.
func (c *Client) CheckUpdate(ctx context.Context) ([]AvailableUpdate, error) {
	m, err := ask(ctx, c.machine().CheckUpdate, &machinev1.CheckUpdateRequest{})
	return each(m.GetReleases(), availableFromWire), err
}

// StageUpdate lets the node fetch a version, or the newest of its channel when
// version is empty, with force also one that has failed there. It returns when it
// is staged, which may take as long as the transfer; Status.Update says how far it is.
func (c *Client) StageUpdate(ctx context.Context, version string, force bool) (staged string, err error) {
	m, err := ask(ctx, c.machine().StageUpdate, &machinev1.StageUpdateRequest{Version: version, Force: force})
	return m.GetVersion(), err
}

// PushUpdate sends the OS file r for which statement speaks, an identity.OSFile
// that identity.Sign has encoded. It returns when the file is staged.
func (c *Client) PushUpdate(ctx context.Context, statement []byte, r io.Reader) (staged string, err error) {
	m, err := send(ctx, c.machine().PushUpdate,
		&machinev1.PushUpdateRequest{Part: &machinev1.PushUpdateRequest_Statement{Statement: statement}}, r,
		func(b []byte) *machinev1.PushUpdateRequest {
			return &machinev1.PushUpdateRequest{Part: &machinev1.PushUpdateRequest_Data{Data: b}}
		}, "the OS file")
	return m.GetVersion(), err
}

// TryUpdate lets the node reboot into what is staged, on trial; it returns when
// the node has accepted.
func (c *Client) TryUpdate(ctx context.Context) error {
	_, err := ask(ctx, c.machine().TryUpdate, &machinev1.TryUpdateRequest{})
	return err
}

// RollBackUpdate lets the node reboot into the release in its other slot, which
// was good, and refuse the one that runs from then on; it returns when the node has
// accepted. The reason, up to 256 bytes, is kept with the verdict.
func (c *Client) RollBackUpdate(ctx context.Context, reason string) error {
	_, err := ask(ctx, c.machine().RollBackUpdate, &machinev1.RollBackUpdateRequest{Reason: reason})
	return err
}

// HoldUpdate keeps the node from updating by itself, or lets it again. The reason,
// up to 256 bytes, is shown with its status.
func (c *Client) HoldUpdate(ctx context.Context, hold bool, reason string) error {
	_, err := ask(ctx, c.machine().HoldUpdate, &machinev1.HoldUpdateRequest{Hold: hold, Reason: reason})
	return err
}

// ForgiveUpdate lets a version that has failed on the node be installed again;
// every one when version is empty.
func (c *Client) ForgiveUpdate(ctx context.Context, version string) error {
	_, err := ask(ctx, c.machine().ForgiveUpdate, &machinev1.ForgiveUpdateRequest{Version: version})
	return err
}
