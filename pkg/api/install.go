package api

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/config"
)

var installAfters = map[InstallAfter]machinev1.InstallAfter{
	InstallReboot:   machinev1.InstallAfter_INSTALL_AFTER_REBOOT,
	InstallPowerOff: machinev1.InstallAfter_INSTALL_AFTER_POWER_OFF,
	InstallStay:     machinev1.InstallAfter_INSTALL_AFTER_STAY,
}

func installToWire(o InstallOptions) (*machinev1.InstallRequest, error) {
	after, ok := installAfters[o.After]
	if !ok {
		return nil, fmt.Errorf("%w: %q is nothing that comes after an installation: %s, %s or %s", ErrInvalid, o.After, InstallReboot, InstallPowerOff, InstallStay)
	}
	return &machinev1.InstallRequest{Disk: o.Disk, Wipe: o.Wipe, After: after}, nil
}

func installFromWire(r *machinev1.InstallRequest) (InstallOptions, error) {
	o := InstallOptions{Disk: r.GetDisk(), Wipe: r.GetWipe()}
	for after, known := range installAfters {
		if known == r.GetAfter() {
			o.After = after
		}
	}
	switch {
	case !config.ValidDisk(o.Disk):
		return o, fmt.Errorf("%w: %.80q is no disk: write a name such as sda, auto, serial:..., model:..., size:smallest or size:largest", ErrInvalid, o.Disk)
	case o.After == "":
		return o, fmt.Errorf("%w: %v does not say what comes after the installation", ErrInvalid, r.GetAfter())
	}
	return o, nil
}

// Install sends the progress. Who ordered it may go away: a disk that is half
// written is nothing to leave behind.
func (m *machineService) Install(ctx context.Context, r *connect.Request[machinev1.InstallRequest], stream *connect.ServerStream[machinev1.InstallProgress]) error {
	o, err := installFromWire(r.Msg)
	if err != nil {
		return err
	}
	return m.node.Install(context.WithoutCancel(ctx), o, func(p InstallProgress) {
		_ = stream.Send(&machinev1.InstallProgress{Step: p.Step, Percent: uint32(max(0, p.Percent)), Message: p.Message})
	})
}

// Install puts the system of a node that runs from memory onto one of its disks and
// calls progress as it goes on. It returns nil when the node has said that it is done.
func (c *Client) Install(ctx context.Context, o InstallOptions, progress func(InstallProgress)) error {
	request, err := installToWire(o)
	if err != nil {
		return err
	}
	stream, err := c.machine().Install(ctx, connect.NewRequest(request))
	if err != nil {
		return fromWire(err)
	}
	defer func() { _ = stream.Close() }()
	done := false
	for stream.Receive() {
		p := InstallProgress{Step: stream.Msg().GetStep(), Percent: int(min(stream.Msg().GetPercent(), 100)), Message: stream.Msg().GetMessage()}
		done = done || p.Step == InstallDone
		progress(p)
	}
	if err := stream.Err(); err != nil && !done {
		return fmt.Errorf("follow the installation: %w", fromWire(err))
	}
	if !done {
		return fmt.Errorf("follow the installation: the node has ended the call without a word: look at its console")
	}
	return nil
}
