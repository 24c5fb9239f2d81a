package api

import (
	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
)

func updateToWire(u *Update) *machinev1.Update {
	if u == nil {
		return nil
	}
	out := &machinev1.Update{
		Slots: each(u.Slots, func(s Slot) *machinev1.Slot {
			return &machinev1.Slot{
				Name: s.Name, Phase: s.Phase, Version: s.Version, Digest: s.Digest,
				Running: s.Running, Default: s.Default, Reason: s.Reason,
			}
		}),
		Floor: u.Floor, Refused: each(u.Refused, verdictToWire), Verdicts: each(u.Verdicts, verdictToWire),
		Hold: u.Hold, HoldReason: u.HoldReason, Available: u.Available,
		Checked: timestampToWire(u.Checked), CheckError: u.CheckError,
		Server: u.Server, Channel: u.Channel, Failure: u.Failure,
	}
	if a := u.Activity; a != nil {
		out.Activity = &machinev1.UpdateActivity{Stage: a.Stage, Version: a.Version, Total: a.Total, Local: a.Local, Peers: a.Peers, Server: a.Server}
	}
	if t := u.Trial; t != nil {
		out.Trial = &machinev1.UpdateTrial{Version: t.Version, Waiting: t.Waiting, Deadline: timestampToWire(t.Deadline)}
	}
	return out
}

func updateFromWire(u *machinev1.Update) *Update {
	if u == nil {
		return nil
	}
	out := &Update{
		Slots: each(u.GetSlots(), func(s *machinev1.Slot) Slot {
			return Slot{
				Name: s.GetName(), Phase: s.GetPhase(), Version: s.GetVersion(), Digest: s.GetDigest(),
				Running: s.GetRunning(), Default: s.GetDefault(), Reason: s.GetReason(),
			}
		}),
		Floor: u.GetFloor(), Refused: each(u.GetRefused(), verdictFromWire), Verdicts: each(u.GetVerdicts(), verdictFromWire),
		Hold: u.GetHold(), HoldReason: u.GetHoldReason(), Available: u.GetAvailable(),
		Checked: timestampFromWire(u.GetChecked()), CheckError: u.GetCheckError(),
		Server: u.GetServer(), Channel: u.GetChannel(), Failure: u.GetFailure(),
	}
	if a := u.GetActivity(); a != nil {
		out.Activity = &UpdateActivity{
			Stage: a.GetStage(), Version: a.GetVersion(), Total: a.GetTotal(),
			Local: a.GetLocal(), Peers: a.GetPeers(), Server: a.GetServer(),
		}
	}
	if t := u.GetTrial(); t != nil {
		out.Trial = &UpdateTrial{Version: t.GetVersion(), Waiting: t.GetWaiting(), Deadline: timestampFromWire(t.GetDeadline())}
	}
	return out
}

func verdictToWire(v UpdateVerdict) *machinev1.UpdateVerdict {
	return &machinev1.UpdateVerdict{Version: v.Version, Phase: v.Phase, Reason: v.Reason, Time: timestampToWire(v.Time)}
}

func verdictFromWire(v *machinev1.UpdateVerdict) UpdateVerdict {
	return UpdateVerdict{Version: v.GetVersion(), Phase: v.GetPhase(), Reason: v.GetReason(), Time: timestampFromWire(v.GetTime())}
}

func availableToWire(a AvailableUpdate) *machinev1.AvailableUpdate {
	return &machinev1.AvailableUpdate{
		Version: a.Version, Size: a.Size, Channels: a.Channels, Notes: a.Notes,
		Published: timestampToWire(a.Published), Due: a.Due,
	}
}

func availableFromWire(a *machinev1.AvailableUpdate) AvailableUpdate {
	return AvailableUpdate{
		Version: a.GetVersion(), Size: a.GetSize(), Channels: a.GetChannels(), Notes: a.GetNotes(),
		Published: timestampFromWire(a.GetPublished()), Due: a.GetDue(),
	}
}
