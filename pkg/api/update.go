package api

import "time"

// MaxOSFile is the largest OS file that a node takes, in bytes: what a slot holds.
const MaxOSFile = 500 << 20

// Update is what a node knows of its slots and of what is to come.
type Update struct {
	// Slots are sorted by name.
	Slots []Slot `json:"slots"`
	// Floor is the highest version that was ever good here; empty for none.
	Floor string `json:"floor,omitempty"`
	// Refused are releases that have failed here, oldest first.
	Refused []UpdateVerdict `json:"refused,omitempty"`
	// Verdicts are how the last updates ended, oldest first.
	Verdicts []UpdateVerdict `json:"verdicts,omitempty"`
	// Activity is what is under way; nil when nothing is.
	Activity *UpdateActivity `json:"activity,omitempty"`
	// Trial is there while the running release is on trial.
	Trial *UpdateTrial `json:"trial,omitempty"`
	// Hold says that the node does not update by itself, HoldReason why.
	Hold       bool   `json:"hold"`
	HoldReason string `json:"holdReason,omitempty"`
	// Available is the newest version that the channel offers this node; empty for none.
	Available string `json:"available,omitempty"`
	// Checked is when the release server last answered, CheckError why it has not since.
	Checked    time.Time `json:"checked,omitzero"`
	CheckError string    `json:"checkError,omitempty"`
	// Server is where releases come from; empty when none is configured.
	Server  string `json:"server,omitempty"`
	Channel string `json:"channel,omitempty"`
	// Failure says why the last update has ended that did not come as far as a trial.
	Failure string `json:"failure,omitempty"`
}

// Slot is one of the places for an OS file.
type Slot struct {
	Name string `json:"name"`
	// Phase is "empty", "staged", "trial", "good" or "bad".
	Phase   string `json:"phase"`
	Version string `json:"version,omitempty"`
	// Digest is the OS file's SHA-256, 64 hexadecimal digits; may be empty.
	Digest string `json:"digest,omitempty"`
	// Running says that the machine was started from it, Default that the firmware
	// starts it by itself.
	Running bool   `json:"running"`
	Default bool   `json:"default"`
	Reason  string `json:"reason,omitempty"`
}

// UpdateVerdict is how an update ended.
type UpdateVerdict struct {
	Version string `json:"version"`
	// Phase is "good", "bad", or "staged" for a trial that was put off.
	Phase  string    `json:"phase"`
	Reason string    `json:"reason,omitempty"`
	Time   time.Time `json:"time,omitzero"`
}

// The stages of an update before its trial.
const (
	UpdateChecking  = "checking"
	UpdateFetching  = "fetching"
	UpdateWriting   = "writing"
	UpdateVerifying = "verifying"
	UpdateRebooting = "rebooting"
)

// UpdateActivity is an update under way. Sizes are bytes of the OS file: Total, and
// of them what is there by where it came from.
type UpdateActivity struct {
	// Stage is UpdateChecking, UpdateFetching, ...
	Stage   string `json:"stage"`
	Version string `json:"version"`
	Total   uint64 `json:"total"`
	Local   uint64 `json:"local"`
	Peers   uint64 `json:"peers"`
	Server  uint64 `json:"server"`
}

// UpdateTrial is the trial of the release that runs.
type UpdateTrial struct {
	Version string `json:"version"`
	// Waiting are the conditions that are not met yet, in words.
	Waiting []string `json:"waiting"`
	// Deadline is when the trial has failed unless all are met.
	Deadline time.Time `json:"deadline"`
}

// AvailableUpdate is a release that the release server offers.
type AvailableUpdate struct {
	Version   string    `json:"version"`
	Size      uint64    `json:"size"`
	Channels  []string  `json:"channels"`
	Notes     string    `json:"notes,omitempty"`
	Published time.Time `json:"published"`
	// Due says that its waves have reached this node.
	Due bool `json:"due"`
}
