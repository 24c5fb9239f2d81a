// Package source decides where a node's configuration comes from. It chooses
// among the documents that were found, reads the places that name them, and
// fetches one that is elsewhere; what a document says is package config's.
package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/digital-mycelium/os/pkg/config"
)

// Candidate is a place that may have a document.
type Candidate struct {
	// Name is the place for people, with its article where it needs one.
	Name string
	// ID changes with what the place has, see Found; "" when that is nothing.
	ID string
	// Document is nil when there is none, or when it must be fetched.
	Document []byte
	// Location is where the document is fetched from, nil for all but the URL.
	Location *Location
	// Err says why the place could not be read.
	Err error
}

// Found returns the candidate of a place that was read. kind is the place's name
// in the ID. A nil document is none; what the place has is then err, if anything,
// so that the API can replace a place that cannot be read, too.
func Found(name, kind string, document []byte, err error) Candidate {
	c := Candidate{Name: name, Document: document, Err: err}
	switch {
	case err != nil:
		c.ID = digest(kind+" unreadable", []byte(err.Error()))
	case document != nil:
		c.ID = digest(kind, document)
	}
	return c
}

// Remote returns the candidate of a URL. document is what it gave before, nil
// when it must be fetched. The ID is the URL's with its pin, whatever it gives.
func Remote(l Location, document []byte) Candidate {
	return Candidate{Name: l.String(), ID: l.ID(), Document: document, Location: &l}
}

// Format implements fmt.Formatter: a document may hold secrets and is not shown.
func (c Candidate) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%s (%d bytes, %v)", c.Name, len(c.Document), c.Err)
}

// digest names content of a kind in a word that does not reveal it.
func digest(kind string, content []byte) string {
	sum := sha256.Sum256(content)
	return kind + ":" + hex.EncodeToString(sum[:])
}

// Set is the document that the API set, as it is kept on STATE.
type Set struct {
	// Replaces are the IDs of the documents that the node had been given when
	// this one was set: they do not count until they change.
	Replaces []string `json:"replaces"`
	Document string   `json:"document"`
}

// NewSet returns the set document that replaces those of the candidates.
func NewSet(candidates []Candidate, document []byte) Set {
	s := Set{Replaces: []string{}, Document: string(document)}
	for _, c := range candidates {
		if c.ID != "" {
			s.Replaces = append(s.Replaces, c.ID)
		}
	}
	return s
}

// Format implements fmt.Formatter: the document may hold secrets and is not shown.
func (s Set) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%d bytes in place of %v", len(s.Document), s.Replaces)
}

// Encode returns s as a file; it holds the document's secrets.
func (s Set) Encode() ([]byte, error) { return json.Marshal(s) }

// DecodeSet reads what Encode wrote.
func DecodeSet(b []byte) (Set, error) {
	var s Set
	if err := json.Unmarshal(b, &s); err != nil {
		return Set{}, fmt.Errorf("read what the API set: %w", err)
	}
	return s, nil
}

// SetName is the name of what the API set.
const SetName = "what the API set"

// Choice is what the node runs with.
type Choice struct {
	// Name is the place of the document, "" for the defaults.
	Name string
	// Config is never nil: the defaults without a document, with a wrong one and
	// while one must be fetched.
	Config *config.Config
	// Location is where the document was, or must be, fetched from; nil for all
	// but the URL.
	Location *Location
	// Fetch says that the document must be fetched first.
	Fetch bool
	// Err says what is wrong in the place that counts.
	Err error
	// Replaced are the places whose document the API replaced.
	Replaced []string
}

// String says for people what the node runs with.
func (c Choice) String() string {
	switch {
	case c.Err != nil:
		return "the defaults, because " + c.Name + " cannot be used"
	case c.Fetch:
		return "the defaults, until there is an answer from " + c.Name
	case c.Name == "":
		return "the defaults"
	}
	return c.Name
}

// Choose returns the first candidate with a document that sets anything, else
// what the API set, else the defaults. A document that the API replaced does not
// count until it changes. Exactly one document is used: one that is wrong, or a
// place that cannot be read, is not followed by the next, so that a node never
// runs with a document that its owner meant to replace.
func Choose(candidates []Candidate, set *Set) Choice {
	choice := Choice{Config: config.Default()}
	for _, c := range candidates {
		if set != nil && c.ID != "" && slices.Contains(set.Replaces, c.ID) {
			choice.Replaced = append(choice.Replaced, c.Name)
			continue
		}
		switch {
		case c.Err != nil:
			choice.Name, choice.Err = c.Name, fmt.Errorf("%s cannot be read: %w", c.Name, c.Err)
			return choice
		case c.Document == nil && c.Location != nil:
			choice.Name, choice.Location, choice.Fetch = c.Name, c.Location, true
			return choice
		case c.Document != nil && choice.take(c.Name, c.Document):
			choice.Location = c.Location
			return choice
		}
	}
	if set != nil {
		choice.take(SetName, []byte(set.Document))
	}
	return choice
}

// take reports whether the document is the one that counts, right or wrong.
func (c *Choice) take(name string, document []byte) bool {
	parsed, err := config.Parse(document)
	if err != nil {
		c.Name, c.Err = name, fmt.Errorf("%s is wrong: %w", name, err)
		return true
	}
	if parsed.IsDefault() {
		return false
	}
	c.Name, c.Config = name, parsed
	return true
}
