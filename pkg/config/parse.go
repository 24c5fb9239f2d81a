package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Error is one thing that is wrong with a document.
type Error struct {
	// Line and Column count from 1; 0 when the place is not known. A syntax
	// error has a line only, and the mistake may be one line further on.
	Line, Column int
	// Field is the path of the field, e.g. "network.interfaces[0].gateway".
	Field   string
	Message string
	// Hint says what to write instead; may be empty.
	Hint string
}

func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Column > 0:
		fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
	case e.Line > 0:
		fmt.Fprintf(&b, "near line %d: ", e.Line)
	}
	e.describe(&b)
	return b.String()
}

// At returns the error as compilers write theirs, which editors jump to:
//
//	node.yaml:3:1: hostnam: unknown field (did you mean hostname?)
//
// Line and column are left out where they are not known.
func (e *Error) At(file string) string {
	var b strings.Builder
	b.WriteString(file)
	for _, n := range []int{e.Line, e.Column} {
		if n > 0 {
			fmt.Fprintf(&b, ":%d", n)
		}
	}
	b.WriteString(": ")
	e.describe(&b)
	return b.String()
}

func (e *Error) describe(b *strings.Builder) {
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
}

// Errors are all that is wrong with a document, in the order of the text.
type Errors []*Error

func (e Errors) Error() string {
	s := make([]string, len(e))
	for i := range e {
		s[i] = e[i].Error()
	}
	return strings.Join(s, "; ")
}

// Parse reads a document. The error is of type Errors unless reading failed.
func Parse(document []byte) (*Config, error) {
	return parse(document, func(string) (Secret, string) {
		return "", "write the secret itself; \"mycelium config apply\" alone can keep one that a node has"
	})
}

// ParseUpdate reads a document that replaces current, as Parse does, except that
// a secret that stands there as DisplayDocument shows it, as "(secret)", is the
// one that current has in this place.
//
// With a nil current such secrets are not known: they stay "(secret)", and what
// depends on their value is not checked.
func ParseUpdate(document []byte, current *Config) (*Config, error) {
	if current == nil {
		return parse(document, func(string) (Secret, string) { return redacted, "" })
	}
	now := map[string]Secret{}
	secretsOf(reflect.ValueOf(current).Elem(), "", now)
	return parse(document, func(path string) (Secret, string) {
		return now[path], "write the secret itself: there is none here now that could be kept"
	})
}

// secretsOf puts the secrets below v into found, by their paths. An item of a list
// has the place of what its first field names (see itemPath). Those in maps are left
// out, and those of items that nothing names.
func secretsOf(v reflect.Value, path string, found map[string]Secret) {
	if s, ok := v.Interface().(Secret); ok {
		found[path] = s
		return
	}
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		secretsOf(v.Elem(), path, found)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			secretsOf(v.Field(i), join(path, v.Type().Field(i).Tag.Get("yaml")), found)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			if field := naming(v.Type().Elem()); field != "" {
				secretsOf(v.Index(i), itemPath(path, v.Index(i).Field(0).String()), found)
			}
		}
	}
}

// naming returns the field that names a list's items of type t: the first, if it is
// text and no secret; "" when there is none.
func naming(t reflect.Type) string {
	if t.Kind() != reflect.Struct || t.NumField() == 0 || t.Field(0).Type.Kind() != reflect.String || t.Field(0).Type == reflect.TypeFor[Secret]() {
		return ""
	}
	return t.Field(0).Tag.Get("yaml")
}

// itemPath is the path of an item of a list, wherever in the list it stands.
func itemPath(list, name string) string { return list + "[" + strconv.Quote(name) + "]" }

// parse is Parse with what a "(secret)" at a path stands for: nothing, then the
// hint says what to do.
func parse(document []byte, kept func(path string) (value Secret, hint string)) (*Config, error) {
	if len(document) > MaxSize {
		return nil, Errors{{Message: fmt.Sprintf("%d bytes are too many (%d at most)", len(document), MaxSize)}}
	}
	root, err := parseTree(document)
	if err != nil {
		return nil, err
	}
	c := &Config{}
	d := decoder{positions: map[string]*yaml.Node{}, kept: kept}
	d.document(root, c)
	if len(d.errs) == 0 {
		d.validate(c)
	}
	if len(d.errs) > 0 {
		return nil, d.errs
	}
	return c, nil
}

// parseTree returns the mapping of the only YAML document in b.
func parseTree(b []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, Errors{{Message: "the document is empty", Hint: "begin with apiVersion: " + APIVersion}}
		}
		return nil, Errors{syntaxError(err)}
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, Errors{{Line: max(second.Line, 1), Column: max(second.Column, 1), Message: "more than one YAML document", Hint: "remove what follows the second ---"}}
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, Errors{{Message: "the document is empty", Hint: "begin with apiVersion: " + APIVersion}}
	}
	return doc.Content[0], nil
}

// syntaxError turns the parser's "yaml: line 3: did not find ..." into an Error.
func syntaxError(err error) *Error {
	e := &Error{Message: strings.TrimPrefix(err.Error(), "yaml: ")}
	if strings.HasPrefix(e.Message, "unknown anchor") {
		// It names the anchor: a value that begins with "*", a secret perhaps.
		return &Error{Message: "anchors and aliases are not allowed", Hint: "put a value that begins with * in quotes"}
	}
	var line int
	if n, _ := fmt.Sscanf(e.Message, "line %d:", &line); n == 1 {
		_, e.Message, _ = strings.Cut(e.Message, ": ")
		e.Line = line
	}
	return e
}
