package api

import machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"

func wirelessMessage(w *Wireless) *machinev1.Wireless {
	if w == nil {
		return nil
	}
	return &machinev1.Wireless{Ssid: w.SSID, Signal: int32(w.Signal), Reason: w.Reason}
}

func wirelessOf(w *machinev1.Wireless) *Wireless {
	if w == nil {
		return nil
	}
	return &Wireless{SSID: w.GetSsid(), Signal: int(w.GetSignal()), Reason: w.GetReason()}
}
