package api

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

// each converts a list.
func each[A, B any](list []A, convert func(A) B) []B {
	var out []B
	for _, a := range list {
		out = append(out, convert(a))
	}
	return out
}

func timestampToWire(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func timestampFromWire(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func statusToWire(s Status) *machinev1.Status {
	return &machinev1.Status{
		Name: s.Name, Version: s.Version, Board: s.Board, Arch: s.Arch, Kernel: s.Kernel,
		BootId: s.BootID, MachineId: s.MachineID,
		Time:   &machinev1.TimeInfo{Now: timestampToWire(s.Time.Now), Source: s.Time.Source},
		Booted: timestampToWire(s.Booted),
		Phase:  s.Phase,
		Phases: each(s.Phases, func(p Phase) *machinev1.Phase {
			return &machinev1.Phase{Name: p.Name, Start: p.Start, Seconds: p.Seconds, Error: p.Error}
		}),
		Interfaces: each(s.Interfaces, func(i Interface) *machinev1.Interface {
			return &machinev1.Interface{Name: i.Name, Mac: i.MAC, Up: i.Up, Addresses: i.Addresses, Wireless: wirelessMessage(i.Wireless)}
		}),
		Services: each(s.Services, func(v Service) *machinev1.Service {
			return &machinev1.Service{
				Name: v.Name, State: v.State, Pid: int32(v.PID), Restarts: int32(v.Restarts),
				Since: timestampToWire(v.Since), LastError: v.LastError,
			}
		}),
		Kubernetes: &machinev1.Kubernetes{
			Version: s.Kubernetes.Version, ApiUp: s.Kubernetes.APIUp, NodeReady: s.Kubernetes.NodeReady,
			Reason: s.Kubernetes.Reason, PodsRunning: int32(s.Kubernetes.PodsRunning), PodsTotal: int32(s.Kubernetes.PodsTotal),
			ApiUpAt: s.Kubernetes.APIUpAt, ReadyAt: s.Kubernetes.ReadyAt,
		},
		Memory: &machinev1.Memory{Total: s.Memory.Total, Available: s.Memory.Available},
		Volumes: each(s.Volumes, func(v Volume) *machinev1.Volume {
			return &machinev1.Volume{Label: v.Label, Device: v.Device, Size: v.Size, Free: v.Free, Reserved: v.Reserved, State: v.State}
		}),
		Problems:      s.Problems,
		Configuration: s.Configuration,
		Membership: &machinev1.Membership{
			State: s.Membership.State, Network: s.Membership.Network, Key: s.Membership.Key, Role: s.Membership.Role,
			Address: s.Membership.Address, Expires: timestampToWire(s.Membership.Expires), Issuer: s.Membership.Issuer,
			Peers: each(s.Membership.Peers, peerToWire),
		},
		Disks: each(s.Disks, func(d Disk) *machinev1.Disk {
			return &machinev1.Disk{Name: d.Name, Model: d.Model, Size: d.Size, Removable: d.Removable, ReadOnly: d.ReadOnly, Boot: d.Boot}
		}),
		Load:   &machinev1.Load{One: s.Load.One, Five: s.Load.Five, Fifteen: s.Load.Fifteen, Processors: int32(s.Load.Processors)},
		Update: updateToWire(s.Update), SecureBoot: s.SecureBoot,
	}
}

func statusFromWire(s *machinev1.Status) Status {
	k, m := s.GetKubernetes(), s.GetMembership()
	return Status{
		Name: s.GetName(), Version: s.GetVersion(), Board: s.GetBoard(), Arch: s.GetArch(), Kernel: s.GetKernel(),
		BootID: s.GetBootId(), MachineID: s.GetMachineId(),
		Time:   TimeInfo{Now: timestampFromWire(s.GetTime().GetNow()), Source: s.GetTime().GetSource()},
		Booted: timestampFromWire(s.GetBooted()),
		Phase:  s.GetPhase(),
		Phases: each(s.GetPhases(), func(p *machinev1.Phase) Phase {
			return Phase{Name: p.GetName(), Start: p.GetStart(), Seconds: p.GetSeconds(), Error: p.GetError()}
		}),
		Interfaces: each(s.GetInterfaces(), func(i *machinev1.Interface) Interface {
			return Interface{Name: i.GetName(), MAC: i.GetMac(), Up: i.GetUp(), Addresses: i.GetAddresses(), Wireless: wirelessOf(i.GetWireless())}
		}),
		Services: each(s.GetServices(), func(v *machinev1.Service) Service {
			return Service{
				Name: v.GetName(), State: v.GetState(), PID: int(v.GetPid()), Restarts: int(v.GetRestarts()),
				Since: timestampFromWire(v.GetSince()), LastError: v.GetLastError(),
			}
		}),
		Kubernetes: Kubernetes{
			Version: k.GetVersion(), APIUp: k.GetApiUp(), NodeReady: k.GetNodeReady(),
			Reason: k.GetReason(), PodsRunning: int(k.GetPodsRunning()), PodsTotal: int(k.GetPodsTotal()),
			APIUpAt: k.GetApiUpAt(), ReadyAt: k.GetReadyAt(),
		},
		Memory: Memory{Total: s.GetMemory().GetTotal(), Available: s.GetMemory().GetAvailable()},
		Volumes: each(s.GetVolumes(), func(v *machinev1.Volume) Volume {
			return Volume{Label: v.GetLabel(), Device: v.GetDevice(), Size: v.GetSize(), Free: v.GetFree(), Reserved: v.GetReserved(), State: v.GetState()}
		}),
		Problems:      s.GetProblems(),
		Configuration: s.GetConfiguration(),
		Membership: Membership{
			State: m.GetState(), Network: m.GetNetwork(), Key: m.GetKey(), Role: m.GetRole(),
			Address: m.GetAddress(), Expires: timestampFromWire(m.GetExpires()), Issuer: m.GetIssuer(),
			Peers: each(m.GetPeers(), peerFromWire),
		},
		Disks: each(s.GetDisks(), func(d *machinev1.Disk) Disk {
			return Disk{Name: d.GetName(), Model: d.GetModel(), Size: d.GetSize(), Removable: d.GetRemovable(), ReadOnly: d.GetReadOnly(), Boot: d.GetBoot()}
		}),
		Load:   Load{One: s.GetLoad().GetOne(), Five: s.GetLoad().GetFive(), Fifteen: s.GetLoad().GetFifteen(), Processors: int(s.GetLoad().GetProcessors())},
		Update: updateFromWire(s.GetUpdate()), SecureBoot: s.GetSecureBoot(),
	}
}

func peerToWire(p Peer) *machinev1.Peer {
	return &machinev1.Peer{
		Name: p.Name, Key: p.Key, Role: p.Role, Address: p.Address, Endpoint: p.Endpoint,
		LastHandshake: timestampToWire(p.LastHandshake), Issuer: p.Issuer, Version: p.Version,
	}
}

func peerFromWire(p *machinev1.Peer) Peer {
	return Peer{
		Name: p.GetName(), Key: p.GetKey(), Role: p.GetRole(), Address: p.GetAddress(), Endpoint: p.GetEndpoint(),
		LastHandshake: timestampFromWire(p.GetLastHandshake()), Issuer: p.GetIssuer(), Version: p.GetVersion(),
	}
}

func eventToWire(e Event) *machinev1.Event {
	return &machinev1.Event{Number: e.Number, Time: timestampToWire(e.Time), Kind: e.Kind, Subject: e.Subject, Text: e.Text}
}

func eventFromWire(e *machinev1.Event) Event {
	return Event{Number: e.GetNumber(), Time: timestampFromWire(e.GetTime()), Kind: e.GetKind(), Subject: e.GetSubject(), Text: e.GetText()}
}

func processToWire(p Process) *machinev1.Process {
	return &machinev1.Process{
		Pid: int32(p.PID), Parent: int32(p.Parent), Name: p.Name, State: p.State, Threads: int32(p.Threads),
		ResidentBytes: p.Resident, CpuSeconds: p.CPU, Started: timestampToWire(p.Started), Cgroup: p.Cgroup,
	}
}

func processFromWire(p *machinev1.Process) Process {
	return Process{
		PID: int(p.GetPid()), Parent: int(p.GetParent()), Name: p.GetName(), State: p.GetState(), Threads: int(p.GetThreads()),
		Resident: p.GetResidentBytes(), CPU: p.GetCpuSeconds(), Started: timestampFromWire(p.GetStarted()), Cgroup: p.GetCgroup(),
	}
}

func timeToWire(t TimeStatus) *machinev1.GetTimeResponse {
	return &machinev1.GetTimeResponse{
		Now: timestampToWire(t.Now), Source: t.Source, Server: t.Server,
		OffsetSeconds: t.Offset, Synced: timestampToWire(t.Synced), Servers: t.Servers,
	}
}

func timeFromWire(t *machinev1.GetTimeResponse) TimeStatus {
	return TimeStatus{
		TimeInfo: TimeInfo{Now: timestampFromWire(t.GetNow()), Source: t.GetSource()}, Server: t.GetServer(),
		Offset: t.GetOffsetSeconds(), Synced: timestampFromWire(t.GetSynced()), Servers: t.GetServers(),
	}
}

func changeToWire(c config.Change) *machinev1.ConfigurationChange {
	return &machinev1.ConfigurationChange{Field: c.Field, NeedsReboot: c.Reboot}
}

func changeFromWire(c *machinev1.ConfigurationChange) config.Change {
	return config.Change{Field: c.GetField(), Reboot: c.GetNeedsReboot()}
}

var scopes = map[ResetScope]machinev1.ResetScope{
	ResetData: machinev1.ResetScope_RESET_SCOPE_DATA,
	ResetAll:  machinev1.ResetScope_RESET_SCOPE_ALL,
}

func scopeToWire(s ResetScope) (machinev1.ResetScope, error) {
	w, ok := scopes[s]
	if !ok {
		return 0, fmt.Errorf("%w: %q is no scope of a reset: data or all", ErrInvalid, s)
	}
	return w, nil
}

func scopeFromWire(w machinev1.ResetScope) (ResetScope, error) {
	for s, known := range scopes {
		if known == w {
			return s, nil
		}
	}
	return "", fmt.Errorf("%w: %v is no scope of a reset: RESET_SCOPE_DATA or RESET_SCOPE_ALL", ErrInvalid, w)
}

func recordToWire(r MemberRecord) *machinev1.MemberRecord {
	return &machinev1.MemberRecord{Credential: r.Credential, Announcement: r.Announcement}
}

func recordFromWire(r *machinev1.MemberRecord) MemberRecord {
	return MemberRecord{Credential: r.GetCredential(), Announcement: r.GetAnnouncement()}
}

// knowledgeOnWire is what the messages that carry Knowledge have in common.
type knowledgeOnWire interface {
	GetMembers() []*machinev1.MemberRecord
	statementsOnWire
}

type statementsOnWire interface {
	GetRotations() [][]byte
	GetRevocations() [][]byte
}

func knowledgeFromWire(m knowledgeOnWire) Knowledge {
	return Knowledge{Members: each(m.GetMembers(), recordFromWire), Statements: statementsFromWire(m)}
}

func statementsFromWire(m statementsOnWire) Statements {
	return Statements{Rotations: m.GetRotations(), Revocations: m.GetRevocations()}
}

func grantToWire(g Grant) *machinev1.EnrolRequest {
	m := &machinev1.EnrolRequest{
		Network: g.Network[:], Anchor: g.Anchor[:], Credential: g.Credential,
		Rotations: g.Statements.Rotations, Revocations: g.Statements.Revocations,
		Found: g.Found, Peers: g.Peers,
	}
	if g.Issuer != nil {
		m.Issuer = &machinev1.IssuerGrant{Key: g.Issuer.Key, Delegation: g.Issuer.Delegation}
	}
	return m
}

func grantFromWire(m *machinev1.EnrolRequest) (Grant, error) {
	network, err := networkFromWire("network", m.GetNetwork())
	if err != nil {
		return Grant{}, err
	}
	anchor, err := networkFromWire("anchor", m.GetAnchor())
	if err != nil {
		return Grant{}, err
	}
	g := Grant{
		Network: network, Anchor: anchor, Credential: m.GetCredential(), Statements: statementsFromWire(m),
		Found: m.GetFound(), Peers: m.GetPeers(),
	}
	if m.GetIssuer() != nil {
		g.Issuer = &IssuerGrant{Key: m.GetIssuer().GetKey(), Delegation: m.GetIssuer().GetDelegation()}
	}
	return g, nil
}

func networkFromWire(field string, b []byte) (identity.NetworkID, error) {
	if len(b) != len(identity.NetworkID{}) {
		return identity.NetworkID{}, fmt.Errorf("%w: %s has %d bytes, want %d", ErrInvalid, field, len(b), len(identity.NetworkID{}))
	}
	return identity.NetworkID(b), nil
}

func keyFromWire(b []byte) (identity.PublicKey, error) {
	if len(b) != len(identity.PublicKey{}) {
		return identity.PublicKey{}, fmt.Errorf("%w: the key has %d bytes, want %d", ErrInvalid, len(b), len(identity.PublicKey{}))
	}
	return identity.PublicKey(b), nil
}
