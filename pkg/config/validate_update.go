package config

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

// Bounds of Update's durations.
const (
	minInterval = time.Minute
	maxInterval = 30 * 24 * time.Hour
	minTrial    = time.Minute
	maxTrial    = 2 * time.Hour
)

func (d *decoder) validateUpdate(u Update) {
	if u.Server != "" && !isURL(u.Server) {
		d.at("update.server", "write it like https://releases.example.org/os", "%q is no http or https URL", u.Server)
	}
	if (u.Server == "") != (u.Root == "") {
		d.at("update", "give both, or none", "update.server and update.root belong together")
	}
	if u.Root != "" && !isDigest(u.Root) {
		d.at("update.root", "copy it from: mycelium release show", "%q is no digest: sha256: and 64 hexadecimal digits", u.Root)
	}
	if u.Channel != "" && !isLabel(u.Channel) {
		d.at("update.channel", "lower-case letters, digits and inner hyphens", "%q is no channel", u.Channel)
	}
	if u.Automatic && u.Server == "" {
		d.at("update.automatic", "set update.server", "there is nowhere to update from")
	}
	d.validateDuration("update.interval", u.Interval, minInterval, maxInterval)
	d.validateDuration("update.trial", u.Trial, minTrial, maxTrial)
	d.validateWindow(u.Window)
	for i, key := range u.Developers {
		if _, err := identity.ParsePublicKey(key); err != nil {
			d.at(fmt.Sprintf("update.developers[%d]", i), "copy it from: mycelium update key", "%v", err)
		}
	}
	names := map[string]bool{}
	for i, c := range u.Checks {
		d.validateCheck(fmt.Sprintf("update.checks[%d]", i), c, names)
	}
}

func (d *decoder) validateWindow(w Window) {
	for i, day := range w.Days {
		if !slices.Contains([]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}, day) {
			d.at(fmt.Sprintf("update.window.days[%d]", i), "mon, tue, wed, thu, fri, sat or sun", "%q is no day", day)
		}
	}
	if (w.From == "") != (w.To == "") {
		d.at("update.window", "give both, or none", "from and to belong together")
	}
	for _, end := range [][2]string{{"from", w.From}, {"to", w.To}} {
		if end[1] != "" && minuteOf(end[1]) < 0 {
			d.at("update.window."+end[0], "write it like 02:00, in UTC", "%q is no time of the day", end[1])
		}
	}
	if w.From != "" && w.From == w.To {
		d.at("update.window.to", "leave both out for the whole day", "the window ends when it begins")
	}
}

func (d *decoder) validateDuration(path, text string, low, high time.Duration) {
	if text == "" {
		return
	}
	if v, err := time.ParseDuration(text); err != nil || v < low || v > high {
		d.at(path, fmt.Sprintf("from %s to %s, like 90m", low, high), "%q is no such duration", text)
	}
}

func (d *decoder) validateCheck(path string, c Check, names map[string]bool) {
	if c.Name == "" || names[c.Name] {
		d.at(path+".name", "give each check a name of its own", "the name %q is missing or taken", c.Name)
	}
	names[c.Name] = true
	host, _, err := net.SplitHostPort(c.TCP)
	switch {
	case (c.HTTP == "") == (c.TCP == ""):
		d.at(path, "give exactly one of http and tcp", "the check asks nothing, or two things")
	case c.HTTP != "" && !isURL(c.HTTP):
		d.at(path+".http", "write it like http://192.168.1.5:8080/healthz", "%q is no http or https URL", c.HTTP)
	case c.TCP != "" && (err != nil || host == "" || !isHostPort(c.TCP)):
		d.at(path+".tcp", "write it like 192.168.1.5:5432", "%q is no host and port", c.TCP)
	}
}

// isURL reports whether s is an http or https URL with a host and without a user,
// a query or a fragment.
func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && isHostPort(u.Host) && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// isDigest reports whether s is "sha256:" and 64 hexadecimal digits in lower case.
func isDigest(s string) bool {
	digits, found := strings.CutPrefix(s, "sha256:")
	b, err := hex.DecodeString(digits)
	return found && err == nil && len(b) == 32 && digits == strings.ToLower(digits)
}
