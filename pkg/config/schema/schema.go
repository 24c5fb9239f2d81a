// Package schema makes the JSON Schema (draft 2020-12) of a node's
// configuration from the Go types that config.Parse fills and from their doc
// comments. It agrees with Parse on the names and the types of fields; whether
// a value makes sense, an address for example, only Parse knows.
package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/digital-mycelium/os/pkg/config"
)

// node is one schema. Its keywords are those that the configuration needs.
type node struct {
	Schema      string     `json:"$schema,omitempty"`
	ID          string     `json:"$id,omitempty"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Const       string     `json:"const,omitempty"`
	Type        any        `json:"type,omitempty"`
	WriteOnly   bool       `json:"writeOnly,omitempty"`
	Required    []string   `json:"required,omitempty"`
	Properties  properties `json:"properties,omitempty"`
	// AdditionalProperties is false, or the schema of a map's values.
	AdditionalProperties any   `json:"additionalProperties,omitempty"`
	Items                *node `json:"items,omitempty"`
}

// properties keeps the order of the fields, which a JSON object of a Go map
// would lose.
type properties []property

type property struct {
	name   string
	schema *node
}

// MarshalJSON implements json.Marshaler.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := json.Marshal(f.schema)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q:%s", f.name, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Generate returns the schema as indented JSON. dir holds package config's
// source, whose doc comments become the descriptions.
func Generate(dir string) ([]byte, error) {
	docs, err := readComments(dir)
	if err != nil {
		return nil, err
	}
	root, err := docs.typeSchema(reflect.TypeFor[config.Config]())
	if err != nil {
		return nil, fmt.Errorf("make the schema of %s: %w", config.Kind, err)
	}
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	root.ID = "urn:" + strings.NewReplacer(".", "-", "/", ":").Replace(config.APIVersion) + ":" + config.Kind
	root.Title, root.Description = "Configuration of a node of Digital Mycelium OS", ""
	root.Type = "object"
	root.Required = []string{"apiVersion", "kind"}
	for _, p := range root.Properties {
		switch p.name {
		case "apiVersion":
			p.schema.Const, p.schema.Type = config.APIVersion, nil
		case "kind":
			p.schema.Const, p.schema.Type = config.Kind, nil
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(root)
	return b.Bytes(), err
}

// orNull allows null beside typ: "key:" with nothing behind it is the default.
func orNull(typ string) []string { return []string{typ, "null"} }

func (d comments) typeSchema(t reflect.Type) (*node, error) {
	switch {
	case t == reflect.TypeFor[config.Secret]():
		return &node{Type: orNull("string"), WriteOnly: true}, nil
	case t.Kind() == reflect.Pointer:
		return d.typeSchema(t.Elem())
	case t.Kind() == reflect.String:
		return &node{Type: orNull("string")}, nil
	case t.Kind() == reflect.Bool:
		return &node{Type: orNull("boolean")}, nil
	case t.Kind() == reflect.Slice:
		items, err := d.typeSchema(t.Elem())
		return &node{Type: orNull("array"), Items: items}, err
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		values, err := d.typeSchema(t.Elem())
		return &node{Type: orNull("object"), AdditionalProperties: values}, err
	case t.Kind() == reflect.Struct:
		return d.structSchema(t)
	}
	return nil, fmt.Errorf("a field of type %s has no schema: teach package schema, and config.Parse", t)
}

func (d comments) structSchema(t reflect.Type) (*node, error) {
	n := &node{Description: d[t.Name()], Type: orNull("object"), AdditionalProperties: false}
	for i := range t.NumField() {
		f := t.Field(i)
		s, err := d.typeSchema(f.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if doc := d[t.Name()+"."+f.Name]; doc != "" {
			s.Description = doc
		}
		if s.Description == "" {
			return nil, fmt.Errorf("%s.%s has no doc comment: write one, it is the schema's description", t.Name(), f.Name)
		}
		n.Properties = append(n.Properties, property{f.Tag.Get("yaml"), s})
	}
	return n, nil
}
