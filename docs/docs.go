// Package docs carries what is published for programs beside the text for people.
package docs

import _ "embed"

// NodeConfigSchema is the JSON Schema of a node's configuration, which
// pkg/config/schema generates.
//
//go:embed nodeconfig.schema.json
var NodeConfigSchema []byte
