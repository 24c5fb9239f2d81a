// Package api is the machine API of a node: what it reports and what the members
// of its network may ask of it, as Connect services (machine/v1/machine.proto)
// over mutually authenticated TLS 1.3 with the certificates of package identity.
//
// A Server serves one port: NewMemberServer the API of a member, to members;
// NewEnrolmentServer the offer of a node that belongs to nobody, to anybody;
// NewAdmissionServer what an issuer offers newcomers. Client, EnrolmentClient and
// AdmissionClient call them. Who may call what is in one table (roles.go).
//
// The Go types here are what programs use; their JSON form is what the command
// line prints, not what goes over the wire.
package api

import "time"

// Status is what a node knows of itself.
type Status struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Board   string `json:"board"`
	Arch    string `json:"arch"`
	Kernel  string `json:"kernel"`
	// BootID changes with every boot (/proc/sys/kernel/random/boot_id).
	BootID string `json:"bootID"`
	// MachineID is kept across boots and wiped with STATE.
	MachineID string    `json:"machineID"`
	Time      TimeInfo  `json:"time"`
	Booted    time.Time `json:"booted"`
	// Phase is the name of the boot phase under way, or "running".
	Phase      string      `json:"phase"`
	Phases     []Phase     `json:"phases"`
	Interfaces []Interface `json:"interfaces"`
	Services   []Service   `json:"services"`
	Kubernetes Kubernetes  `json:"kubernetes"`
	Memory     Memory      `json:"memory"`
	Volumes    []Volume    `json:"volumes"`
	// Problems are conditions that the owner should know of, in plain words,
	// each with what to do; empty on a healthy node.
	Problems []string `json:"problems"`
	// Configuration is where the configuration comes from, in words.
	Configuration string     `json:"configuration"`
	Membership    Membership `json:"membership,omitzero"`
	Disks         []Disk     `json:"disks,omitzero"`
	Load          Load       `json:"load,omitzero"`
	// Update is nil on a machine that cannot be updated in place.
	Update *Update `json:"update,omitempty"`
	// SecureBoot is what the firmware does about signatures: "on", "off", "setup mode"
	// (it takes the keys of whoever comes) or "unsupported".
	SecureBoot string `json:"secureBoot,omitempty"`
}

// TimeInfo says what the node's clock rests on.
type TimeInfo struct {
	Now time.Time `json:"now"`
	// Source is "ntp", "rtc" or "floor" (RTC was implausible and no server answered).
	Source string `json:"source"`
}

// Phase is one boot phase.
type Phase struct {
	Name string `json:"name"`
	// Start is seconds since the kernel started.
	Start float64 `json:"start"`
	// Seconds is how long it took; 0 while it runs.
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// Interface is a network interface with its addresses in CIDR form.
type Interface struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac"`
	Up        bool     `json:"up"`
	Addresses []string `json:"addresses"`
	// Wireless is nil for an interface that is not a radio's.
	Wireless *Wireless `json:"wireless,omitempty"`
}

// Wireless is what a radio is connected to.
type Wireless struct {
	// SSID is the network's name, "" when the interface is in none.
	SSID string `json:"ssid,omitempty"`
	// Signal is its strength in dBm, 0 when it is not known.
	Signal int `json:"signal,omitempty"`
	// Reason is why it is in no network, in words, with what to do.
	Reason string `json:"reason,omitempty"`
}

// Service is a supervised service.
type Service struct {
	Name string `json:"name"`
	// State is "waiting", "running", "backoff", "stopped".
	State     string    `json:"state"`
	PID       int       `json:"pid"`
	Restarts  int       `json:"restarts"`
	Since     time.Time `json:"since"`
	LastError string    `json:"lastError,omitempty"`
}

// Kubernetes is the node's view of its cluster.
type Kubernetes struct {
	Version   string `json:"version"`
	APIUp     bool   `json:"apiUp"`
	NodeReady bool   `json:"nodeReady"`
	// Reason is why the node is not Ready, from its Ready condition.
	Reason      string `json:"reason,omitempty"`
	PodsRunning int    `json:"podsRunning"`
	PodsTotal   int    `json:"podsTotal"`
	// APIUpAt and ReadyAt are seconds from kernel start to the first time.
	APIUpAt float64 `json:"apiUpAt"`
	ReadyAt float64 `json:"readyAt"`
}

// Memory is in bytes, from /proc/meminfo.
type Memory struct {
	Total     uint64 `json:"total"`
	Available uint64 `json:"available"`
}

// Volume is a partition that the node has mounted or refused to mount. Sizes are bytes.
type Volume struct {
	Label  string `json:"label"`
	Device string `json:"device"`
	Size   uint64 `json:"size"`
	Free   uint64 `json:"free"`
	// Reserved is the part of Size - Free that the node holds back to recover when
	// the volume is full.
	Reserved uint64 `json:"reserved,omitempty"`
	// State is "mounted", "created" (made in this boot), "repaired", "corrupt" or "missing".
	State string `json:"state"`
}

// Load is the load average over the last 1, 5 and 15 minutes (proc_loadavg(5)).
type Load struct {
	One        float64 `json:"one"`
	Five       float64 `json:"five"`
	Fifteen    float64 `json:"fifteen"`
	Processors int     `json:"processors"`
}

// Disk is a whole block device. Size is in bytes.
type Disk struct {
	Name      string `json:"name"`
	Model     string `json:"model"`
	Size      uint64 `json:"size"`
	Removable bool   `json:"removable"`
	ReadOnly  bool   `json:"readOnly"`
	// Boot says that the OS runs from it.
	Boot bool `json:"boot"`
}

// The states of a node's membership.
const (
	Unconfigured = "unconfigured" // belongs to nobody; offers enrolment alone
	Joining      = "joining"      // has an invite and looks for who admits it
	Member       = "member"
	Removed      = "removed" // its certificate was taken back
)

// Membership is the node's place in a network.
type Membership struct {
	// State is Unconfigured, Joining, Member or Removed.
	State string `json:"state"`
	// Network is the network's id, as identity.NetworkID shows it.
	Network string `json:"network"`
	// Key is the node's public key, which is also its fingerprint, as
	// identity.PublicKey shows it.
	Key string `json:"key"`
	// Role is "client", "agent" or "server".
	Role string `json:"role"`
	// Address is the node's on the mesh.
	Address string `json:"address"`
	// Expires is when its certificate ends.
	Expires time.Time `json:"expires,omitzero"`
	// Issuer says that it admits newcomers.
	Issuer bool   `json:"issuer"`
	Peers  []Peer `json:"peers"`
}

// Peer is another node, as this one sees it.
type Peer struct {
	Name    string `json:"name"`
	Key     string `json:"key"`
	Role    string `json:"role"`
	Address string `json:"address"`
	// Endpoint is where the mesh last reached it, "host:port"; may be empty.
	Endpoint string `json:"endpoint"`
	// LastHandshake is the mesh's last; zero when there was none.
	LastHandshake time.Time `json:"lastHandshake,omitzero"`
	Issuer        bool      `json:"issuer"`
	// Version is its OS's, in its own words.
	Version string `json:"version"`
}

// Event is something that happened on a node.
type Event struct {
	// Number counts from 1 in each boot.
	Number uint64    `json:"number"`
	Time   time.Time `json:"time"`
	// Kind is one of the console's: EventPhase, EventService, ...
	Kind string `json:"kind"`
	// Subject is what it is about: a phase, a service, an interface.
	Subject string `json:"subject"`
	Text    string `json:"text"`
}

// Process is one process, from /proc. Arguments are left out: they may hold
// secrets.
type Process struct {
	PID    int    `json:"pid"`
	Parent int    `json:"parent"`
	Name   string `json:"name"`
	// State is one letter, as in proc_pid_stat(5).
	State   string `json:"state"`
	Threads int    `json:"threads"`
	// Resident is in bytes.
	Resident uint64 `json:"resident"`
	// CPU is user and system time in seconds.
	CPU     float64   `json:"cpu"`
	Started time.Time `json:"started"`
	// Cgroup is the control group, such as /services/k3s.
	Cgroup string `json:"cgroup"`
}

// TimeStatus says how the node keeps its time.
type TimeStatus struct {
	TimeInfo
	// Server last answered, Offset seconds was the clock's error then.
	Server string    `json:"server"`
	Offset float64   `json:"offset"`
	Synced time.Time `json:"synced,omitzero"`
	// Servers are who is asked.
	Servers []string `json:"servers"`
}

// ResetScope says what a reset wipes.
type ResetScope string

// The scopes of a reset.
const (
	// ResetData wipes DATA: images, containers, Kubernetes' database, volumes, logs.
	ResetData ResetScope = "data"
	// ResetAll wipes STATE as well: the node leaves its network.
	ResetAll ResetScope = "all"
)

// InstallAfter says what comes after an installation.
type InstallAfter string

// What comes after an installation.
const (
	InstallReboot   InstallAfter = "reboot"
	InstallPowerOff InstallAfter = "poweroff"
	// InstallStay goes on from memory.
	InstallStay InstallAfter = "stay"
)

// InstallOptions say where a node that runs from memory installs itself.
type InstallOptions struct {
	// Disk is a name such as sda, or as config.Install.Disk names one.
	Disk string
	// Wipe gives up whatever is on the disk. Without it STATE and DATA of an earlier
	// installation are kept, and a disk with anything else is refused.
	Wipe  bool
	After InstallAfter
}

// InstallProgress is how far an installation is.
type InstallProgress struct {
	// Step is what is being done; InstallDone at last.
	Step string `json:"step"`
	// Percent is how much of all is done.
	Percent int `json:"percent"`
	// Message says the same for people.
	Message string `json:"message"`
}

// InstallDone is the last step of an installation.
const InstallDone = "done"
