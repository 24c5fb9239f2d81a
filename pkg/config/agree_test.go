package config_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/config/schema"
)

const head = "apiVersion: " + config.APIVersion + "\nkind: " + config.Kind + "\n"

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := schema.Generate(".")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance is the JSON value of a YAML tree; ok is false when JSON has none
// (aliases, merge keys, keys that stand twice, tags of one's own).
func instance(n *yaml.Node) (value any, ok bool) {
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			v, ok := instance(n.Content[i+1])
			if _, twice := m[key.Value]; twice || !ok || key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Tag == "!!merge" {
				return nil, false
			}
			m[key.Value] = v
		}
		return m, true
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, ok := instance(c)
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		return list, true
	}
	switch n.Tag {
	case "!!null":
		return nil, true
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), strings.EqualFold(n.Value, "true") || strings.EqualFold(n.Value, "false")
	case "!!int", "!!float":
		return json.Number("1"), true
	case "!!str":
		return n.Value, true
	}
	return nil, false
}

// agree checks that Parse and the schema say the same of names and types, and
// reports whether the document could be compared.
func agree(t *testing.T, s *jsonschema.Schema, name, document string) bool {
	t.Helper()
	root, err := config.ParseTree(document)
	if err != nil {
		return false
	}
	value, ok := instance(root)
	if !ok {
		return false
	}
	refused := fmt.Sprint(config.ShapeErrors(root))
	if m, isMap := value.(map[string]any); !isMap || m["apiVersion"] != config.APIVersion || m["kind"] != config.Kind {
		refused += "another kind of document"
	}
	err = s.Validate(value)
	if (err == nil) != (refused == "") {
		t.Errorf("%s: Parse says %q, the schema %v, of\n%s", name, refused, err, document)
	}
	if _, parseErr := config.Parse([]byte(document)); parseErr == nil && err != nil {
		t.Errorf("%s: Parse accepts what the schema refuses: %v\n%s", name, err, document)
	}
	return true
}

func TestSchemaAgreesOnBadDocuments(t *testing.T) {
	s, compared := compile(t), 0
	docs := config.BadDocuments(t)
	for name, doc := range docs {
		if agree(t, s, name, doc) {
			compared++
		}
	}
	if compared < len(docs)*2/3 {
		t.Errorf("only %d of %d documents have a JSON value", compared, len(docs))
	}
	if !agree(t, s, "full", config.FullDocument(t)) || !agree(t, s, "smallest", head) {
		t.Error("a good document has no JSON value")
	}
}

// TestSchemaAgreesOnEveryField puts a value of every type into every field, and
// a field that does not exist beside each.
func TestSchemaAgreesOnEveryField(t *testing.T) {
	s, fields := compile(t), 0
	walk(reflect.TypeFor[config.Config](), "%s", func(template string) {
		fields++
		for _, v := range []string{"a", "1", "1.5", "true", "2026-11-21", "", "~", "[]", "{}", "[a]", "[1]", "[~]", "[[]]", "{a: b}", "{a: 1}", "{a: ~}", "{a: {}}"} {
			doc := head + fmt.Sprintf(template, v) + "\n"
			if !strings.HasPrefix(template, "apiVersion") && !strings.HasPrefix(template, "kind") {
				agree(t, s, template, doc)
			}
		}
	})
	if fields < 15 {
		t.Errorf("only %d fields found", fields)
	}
}

// walk calls each with a format for every field below typ: a flow-style
// document with the field's value as its verb.
func walk(typ reflect.Type, around string, each func(format string)) {
	switch typ.Kind() {
	case reflect.Pointer:
		walk(typ.Elem(), around, each)
	case reflect.Slice:
		walk(typ.Elem(), fmt.Sprintf(around, "[%s]"), each)
	case reflect.Map:
		walk(typ.Elem(), fmt.Sprintf(around, "{some/label: %s}"), each)
	case reflect.Struct:
		for i := range typ.NumField() {
			name := typ.Field(i).Tag.Get("yaml")
			inner := fmt.Sprintf(around, "{"+name+": %s}")
			if around == "%s" {
				inner = name + ": %s"
			}
			each(inner)
			each(strings.Replace(inner, name+": ", name+"x: ", 1))
			walk(typ.Field(i).Type, inner, each)
		}
	}
}
