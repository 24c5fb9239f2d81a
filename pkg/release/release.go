package release

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/mod/semver"
)

// The names of a release's files: below a board's and a version's directory.
const (
	osName    = "os.efi"
	indexName = osName + ".index"
)

// Bounds of what a release may say of itself.
const (
	maxNotes    = 16 << 10 // bytes
	maxChannels = 16
	maxWaves    = 16
	maxWait     = 10 * 365 * 24 * time.Hour
	maxName     = 64        // characters of a board, a channel or a version
	maxIndex    = 8 << 20   // bytes of an index
	maxOS       = 512 << 20 // bytes of an OS file
)

// plainName says whether a board or a channel may have that name.
func plainName(s string) bool {
	edge := strings.Trim(s, "._-")
	return edge == s && s != "" && len(s) <= maxName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == "" && !strings.Contains(s, "..")
}

// Wave lets the nodes into an update step by step.
type Wave struct {
	// Percent of all nodes, from 1 to 100, the earlier waves' nodes among them.
	Percent int `json:"percent"`
	// After is the time from the publication on; whole seconds.
	After Duration `json:"after"`
}

// Duration is a time.Duration that stands in JSON as a string such as "36h".
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// Attributes are what the signers say of a release beyond its files: the custom
// data of its target.
type Attributes struct {
	// Version is a semantic version without a leading v.
	Version string `json:"version"`
	// Board names the kind of machine.
	Board string `json:"board"`
	// Channels are the names under which nodes follow it.
	Channels []string `json:"channels"`
	// Published is when the waves begin to count.
	Published time.Time `json:"published"`
	// Waves in their order; without any all nodes may have it at once.
	Waves []Wave `json:"waves,omitempty"`
	// Downgrade lets nodes that had a later version go down to this one.
	Downgrade bool `json:"downgrade,omitempty"`
	// Notes are for people.
	Notes string `json:"notes,omitempty"`
}

// File is one file of a release on its server.
type File struct {
	// Path is relative to the server's base.
	Path string `json:"path"`
	// Digest is the SHA-256, 64 hexadecimal digits.
	Digest string `json:"digest"`
	// Size is in bytes.
	Size int64 `json:"size"`
}

// Release is a version of the operating system for a board, as verified.
type Release struct {
	Attributes
	// OS is the operating system's file.
	OS File `json:"os"`
	// Index helps to fetch only what differs from another version; of the zero value
	// if the release has none. See Client.Index.
	Index File `json:"index,omitzero"`
}

// Due says whether a node, known by its key, is to have the release now: the
// node's channel is among the release's, and its wave has begun. A node keeps its
// place in the waves of a version, and gets another one for another version.
func (r Release) Due(channel string, node []byte, now time.Time) bool {
	if !slices.Contains(r.Channels, channel) {
		return false
	}
	percent := 0
	if len(r.Waves) == 0 {
		percent = 100
	}
	for _, w := range r.Waves {
		if !now.Before(r.Published.Add(time.Duration(w.After))) {
			percent = max(percent, w.Percent)
		}
	}
	h := sha256.New()
	h.Write([]byte("mycelium release wave v1\x00" + r.Version + "\x00"))
	h.Write(node)
	return binary.BigEndian.Uint64(h.Sum(nil))%100 < uint64(percent)
}

// Check refuses attributes that cannot be published: ErrMalformed with the field.
func (a Attributes) Check() error {
	if v := "v" + a.Version; len(v) > maxName || !semver.IsValid(v) || strings.Count(v, ".") < 2 {
		return malformed("version %.80q: want a semantic version such as 1.2.3", a.Version)
	}
	if !plainName(a.Board) {
		return malformed("board %.80q: want small letters, digits, dots and hyphens", a.Board)
	}
	if len(a.Channels) == 0 || len(a.Channels) > maxChannels {
		return malformed("%d channels: want 1 to %d", len(a.Channels), maxChannels)
	}
	for _, c := range a.Channels {
		if !plainName(c) {
			return malformed("channel %.80q: want small letters, digits, dots and hyphens", c)
		}
	}
	if a.Published.IsZero() {
		return malformed("published: the time is missing")
	}
	if len(a.Notes) > maxNotes {
		return malformed("notes of %d bytes: at most %d", len(a.Notes), maxNotes)
	}
	if len(a.Waves) > maxWaves {
		return malformed("%d waves: at most %d", len(a.Waves), maxWaves)
	}
	last := Wave{}
	for i, w := range a.Waves {
		if w.Percent < 1 || w.Percent > 100 || w.Percent < last.Percent {
			return malformed("wave %d: %d percent after %d: want 1 to 100, and no less than before", i+1, w.Percent, last.Percent)
		}
		if w.After < last.After || w.After > Duration(maxWait) {
			return malformed("wave %d: it begins after %v, the one before after %v", i+1, w.After, last.After)
		}
		last = w
	}
	return nil
}

// parseAttributes reads custom data. Fields that it does not know do not matter.
func parseAttributes(custom []byte) (Attributes, error) {
	var a Attributes
	if err := json.Unmarshal(custom, &a); err != nil {
		return Attributes{}, fmt.Errorf("%w: custom data: %w", ErrMalformed, err)
	}
	if err := a.Check(); err != nil {
		return Attributes{}, fmt.Errorf("custom data: %w", err)
	}
	return a, nil
}

// Directory returns the name of the directory of a release in a repository's
// targets: BOARD/VERSION.
func (a Attributes) Directory() string { return a.Board + "/" + a.Version }

// OSTarget and IndexTarget return the names of a release's files as targets.
func (a Attributes) OSTarget() string { return a.Directory() + "/" + osName }

// IndexTarget is described with OSTarget.
func (a Attributes) IndexTarget() string { return a.Directory() + "/" + indexName }

// TargetPath returns where a repository with consistent snapshots has a target
// of that name and SHA-256, below its base (TUF specification, 6.2).
func TargetPath(name, digest string) string {
	dir, base := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i+1], name[i+1:]
	}
	return "targets/" + dir + digest + "." + base
}

// readTargets returns the releases of a board (all boards if it is empty), the
// newest first, and what is wrong with others.
func readTargets(t *metadata.TargetsType, board string) (list []Release, problems []error) {
	for name, file := range t.Targets {
		dir, ok := strings.CutSuffix(name, "/"+osName)
		if !ok || board != "" && !strings.HasPrefix(dir, board+"/") {
			continue
		}
		r, err := readTarget(name, file)
		if err != nil {
			problems = append(problems, fmt.Errorf("release %.200q: %w", dir, err))
			continue
		}
		if index, ok := t.Targets[r.IndexTarget()]; ok {
			if r.Index, err = describe(r.IndexTarget(), index, maxIndex); err != nil { // it can be had without
				problems = append(problems, fmt.Errorf("index of release %.200q: %w", dir, err))
			}
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Release) int {
		return cmp.Or(semver.Compare("v"+b.Version, "v"+a.Version), cmp.Compare(b.Version, a.Version), cmp.Compare(a.Board, b.Board))
	})
	slices.SortFunc(problems, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return list, problems
}

func readTarget(name string, file *metadata.TargetFiles) (Release, error) {
	if file.Custom == nil {
		return Release{}, fmt.Errorf("%w: it has no custom data", ErrMalformed)
	}
	a, err := parseAttributes(*file.Custom)
	if err != nil {
		return Release{}, err
	}
	if a.OSTarget() != name {
		return Release{}, fmt.Errorf("%w: the custom data is that of %s", ErrMalformed, a.Directory())
	}
	r := Release{Attributes: a}
	r.OS, err = describe(name, file, maxOS)
	return r, err
}

// describe returns where a target is and what it must be.
func describe(name string, file *metadata.TargetFiles, most int64) (File, error) {
	sum := file.Hashes["sha256"]
	if len(sum) != sha256.Size {
		return File{}, fmt.Errorf("%w: %s has no SHA-256", ErrMalformed, name)
	}
	if file.Length <= 0 || file.Length > most {
		return File{}, fmt.Errorf("%w: %s has %d bytes", ErrMalformed, name, file.Length)
	}
	digest := hex.EncodeToString(sum)
	return File{Path: TargetPath(name, digest), Digest: digest, Size: file.Length}, nil
}
