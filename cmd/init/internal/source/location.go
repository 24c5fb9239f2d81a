package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/digital-mycelium/os/pkg/config"
)

// Location is a document at a URL.
type Location struct {
	// URL is without the fragment.
	URL *url.URL
	// SHA256 is what the document's must be; nil when any will do.
	SHA256 []byte
}

// ParseLocation reads "https://host/path" or "http://host/path#sha256=HEX". The
// digest is required where nothing else says that the document is the right one.
// Errors do not repeat the text: it may hold a password.
func ParseLocation(text string) (Location, error) {
	const form = "write https://HOST/PATH or http://HOST/PATH#sha256=HEX"
	u, err := url.Parse(text)
	if err != nil {
		return Location{}, errors.New("it is no URL: " + form)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "" {
		return Location{}, errors.New("it is neither off nor an http or https URL with a host: " + form)
	}
	l := Location{URL: u}
	if u.Fragment != "" {
		digits, ok := strings.CutPrefix(u.Fragment, "sha256=")
		sum, err := hex.DecodeString(digits)
		if !ok || err != nil || len(sum) != sha256.Size {
			return Location{}, errors.New("behind its # is no SHA-256: write #sha256= and 64 hexadecimal digits, as sha256sum prints them")
		}
		l.SHA256 = sum
	} else if u.Scheme == "http" {
		return Location{}, errors.New("over http anybody on the way could change the document: add #sha256= and its SHA-256, or use https")
	}
	u.Fragment, u.RawFragment = "", ""
	return l, nil
}

// String returns the location for people: without user, password and query,
// which may be secrets.
func (l Location) String() string {
	return (&url.URL{Scheme: l.URL.Scheme, Host: l.URL.Host, Path: l.URL.Path}).String()
}

// ID names the location and, if it is pinned, the document.
func (l Location) ID() string {
	return digest("url", []byte(l.URL.String()+"#"+hex.EncodeToString(l.SHA256)))
}

// ErrDocument is what Check refuses a document with. The place was reached, and
// asking again helps only when somebody puts another document there.
var ErrDocument = errors.New("the document is not used")

// Check refuses a document that is not the pinned one, or that no node could run
// with.
func (l Location) Check(document []byte) error {
	if sum := sha256.Sum256(document); l.SHA256 != nil && !bytes.Equal(sum[:], l.SHA256) {
		return fmt.Errorf("%w: %s has the SHA-256 %x, the command line wants %x: correct one of them", ErrDocument, l, sum, l.SHA256)
	}
	if _, err := config.Parse(document); err != nil {
		return fmt.Errorf("%w: %s is wrong: %w", ErrDocument, l, err)
	}
	return nil
}
