package config

import (
	"reflect"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What the tests of the schema, which imports this package, need of it.

// BadDocuments are documents that Parse refuses.
func BadDocuments(t testing.TB) map[string]string {
	docs := map[string]string{}
	for _, d := range badDocuments(t) {
		docs[d.name] = d.doc
	}
	return docs
}

// FullDocument is a document with every field.
func FullDocument(t testing.TB) string {
	doc, err := full(t).Document()
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// ParseTree returns the document's tree; an error means that it is no YAML of ours.
func ParseTree(document string) (*yaml.Node, error) { return parseTree([]byte(document)) }

// ShapeErrors are what is wrong with the names and types of the document's
// fields, whatever their values.
func ShapeErrors(root *yaml.Node) Errors {
	d := decoder{positions: map[string]*yaml.Node{}, kept: func(string) (Secret, string) { return "", "" }}
	d.value(root, reflect.ValueOf(&Config{}).Elem(), "")
	return d.errs
}
