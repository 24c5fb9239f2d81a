package api

import (
	"context"
	"crypto/tls"
	"io"
	"time"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

// Node is the machine that a member server serves. Errors that wrap one of the
// package's Err values reach the caller as such, others as internal ones.
type Node interface {
	// Status returns the status now and a channel that is closed at its next
	// change.
	Status() (Status, <-chan struct{})
	Events() EventLog
	Processes() ([]Process, error)
	Time() TimeStatus
	// LogNames returns the names of the logs, sorted.
	LogNames() []string
	// Log returns a log by its name, or ErrNotFound.
	Log(name string) (Log, error)
	// Metrics returns OpenMetrics 1.0 text.
	Metrics() string
	// RestartService restarts a supervised service; ErrNotFound.
	RestartService(name string) error
	// Reboot and Shutdown ask for the orderly end of the machine's run and return
	// at once.
	Reboot()
	Shutdown()
	// Reset arranges the wipe of what scope says, asks for the end of the
	// machine's run and returns.
	Reset(scope ResetScope, shutdown bool) error
	// Install puts the system onto a disk and calls progress as it goes on; what comes
	// after is arranged when it returns nil. ErrConflict: the node does not run from
	// memory, the disk holds something that is not to be lost, or an installation is
	// under way. ErrNotFound: there is no such disk.
	Install(ctx context.Context, o InstallOptions, progress func(InstallProgress)) error
	// PutImage stores a container image archive under a file name that
	// ValidImageName accepts; the archive is complete when r ends with io.EOF.
	PutImage(ctx context.Context, name string, r io.Reader) error
	// SupportBundle writes a tar.zst without secrets. The server encrypts it.
	SupportBundle(ctx context.Context, w io.Writer) error
	// Configuration returns the document that the node runs with (YAML, secrets
	// replaced) and where it comes from, in words.
	Configuration() (document []byte, source string, err error)
	// ApplyConfiguration makes document (YAML) the node's configuration, or with
	// dryRun only says what would change. A secret that stands there as
	// Configuration shows it stays what it is. A wrong document is refused with
	// config.Errors or ErrInvalid.
	ApplyConfiguration(ctx context.Context, document []byte, dryRun bool) ([]config.Change, error)
	// Kubeconfig returns a kubeconfig without a user, or ErrNotYet.
	Kubeconfig() ([]byte, error)
	// Updates returns what replaces the node's OS; nil when nothing can.
	Updates() Updates
}

// Updates is what replaces a node's OS. ErrConflict says that something else is
// under way, or that the slots do not allow it.
type Updates interface {
	// Check asks the release server and returns what it offers the node, newest first.
	Check(ctx context.Context) ([]AvailableUpdate, error)
	// Stage fetches a version, the channel's newest when it is empty, into the idle
	// slot. With force also one that has failed here.
	Stage(ctx context.Context, version string, force bool) (staged string, err error)
	// Push stages the OS file r, for which statement (an encoded identity.OSFile)
	// speaks; r is complete when it ends with io.EOF.
	Push(ctx context.Context, statement []byte, r io.Reader) (staged string, err error)
	// Try reboots into what is staged.
	Try(ctx context.Context) error
	// RollBack reboots into the other slot's release.
	RollBack(reason string) error
	Hold(on bool, reason string) error
	// Forgive lets a version be installed again that has failed; all when it is empty.
	Forgive(version string) error
	// File opens the OS file with a SHA-256 (64 hexadecimal digits) for a member, and
	// says how far the node is with it; no file unless it is whole.
	File(digest string) (io.ReadSeekCloser, delta.PeerState, error)
}

// Log is a log that is read while it is written.
type Log interface {
	// Tail returns the last n lines (all for n < 0), the position behind them,
	// and a channel that is closed when there are more.
	Tail(n int) (lines []byte, position int64, more <-chan struct{})
	// Since returns the lines behind a position, as Tail does.
	Since(position int64) (lines []byte, next int64, more <-chan struct{})
}

// EventLog is a log of events.
type EventLog interface {
	// Tail returns the last n events (all that are kept for n < 0), the number
	// behind them, and a channel that is closed when there are more.
	Tail(n int) (events []Event, next uint64, more <-chan struct{})
	// Since returns the events from the number next on, as Tail does.
	Since(next uint64) (events []Event, after uint64, more <-chan struct{})
}

// Enrolment is a node that belongs to no network.
type Enrolment interface {
	// Describe returns the node's request for a certificate of network, ErrInvalid
	// when the node waits for another network.
	Describe(network identity.NetworkID) (Description, error)
	// Enrol makes the node a member. Once it has returned nil the server refuses
	// further calls with ErrConflict.
	Enrol(ctx context.Context, g Grant) error
}

// Description is a node that belongs to no network, in its own words.
type Description struct {
	// Request is an encoded identity.Request, signed by the node's key.
	Request []byte
	Name    string
	Version string
	Board   string
}

// Grant makes a node a member of a network.
type Grant struct {
	Network identity.NetworkID
	// Anchor is as in identity.Invite.
	Anchor     identity.NetworkID
	Credential []byte
	Statements Statements
	// Issuer makes the node an issuer; nil for the others.
	Issuer *IssuerGrant
	// Found says that the node begins a new cluster instead of joining one.
	Found bool
	// Peers are where other members' machine APIs are, "host:port".
	Peers []string
}

// IssuerGrant is what makes a node an issuer. It shows as "(secret)".
type IssuerGrant struct {
	// Key is the seed of the issuer's key, for identity.KeyFromSeed.
	Key []byte
	// Delegation is the root key's encoded identity.Delegation for Key.
	Delegation []byte
}

// Statements are encoded root rotations, in order, and revocation lists.
type Statements struct{ Rotations, Revocations [][]byte }

// MemberRecord is what a node says of itself: its credential, and an encoded
// announcement that the credential's key has signed.
type MemberRecord struct{ Credential, Announcement []byte }

// Knowledge is what a member knows of its network.
type Knowledge struct {
	Members    []MemberRecord
	Statements Statements
}

// Admission is an issuer.
type Admission interface {
	// Admit grants a newcomer's encoded request, which TLS has authenticated.
	Admit(ctx context.Context, request []byte) (credential []byte, k Knowledge, err error)
	// Renew gives the member at the other end, who is in good standing, a new
	// credential.
	Renew(peer tls.ConnectionState, request []byte) (credential []byte, err error)
}

// Peers is a node as its network sees it.
type Peers interface {
	// Exchange takes over what the member from knows and returns what this node knows.
	Exchange(ctx context.Context, from *identity.Certificate, in Knowledge) (Knowledge, error)
	// JoinCluster returns what the node from needs to join the cluster, or ErrNotYet.
	JoinCluster(ctx context.Context, from *identity.Certificate) (ClusterJoin, error)
	// Members returns all nodes of the network that this one knows, itself included.
	Members() []Peer
	// Invite makes a token for up to uses nodes; ErrNotIssuer.
	Invite(role identity.NodeRole, uses int, lifetime time.Duration) (identity.Token, error)
	// Revoke takes the membership of key back; ErrNotIssuer.
	Revoke(key identity.PublicKey) error
	AddStatements(s Statements) error
}

// ClusterJoin is what K3s needs to join a cluster. It shows without the token.
type ClusterJoin struct {
	// Server is a URL, "https://100.64.1.2:6443".
	Server string
	// Token is secret.
	Token string
}
