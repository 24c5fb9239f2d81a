package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/config"
)

func TestConfigValidate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	const head = "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\n"
	tests := []struct {
		name, document string
		want           []string
		err            string
	}{
		{"right", head + "hostname: kitchen\n", []string{path + ": right\n"}, ""},
		{
			"two mistakes", head + "hostnam: kitchen\ntime:\n  servers: a\n",
			[]string{path + ":3:1: hostnam: unknown field (did you mean hostname?)\n", path + ":5:12: time.servers: must be a list"},
			path + ": 2 mistakes",
		},
		{"syntax", head + "hostname: [a\n", []string{path + ":2: "}, path + ": one mistake"},
		{"empty", "", []string{path + ": the document is empty"}, path + ": one mistake"},
		{"foreign", "MZ\x00\x90", []string{path + ": "}, path + ": one mistake"},
		{"too long", strings.Repeat("#", config.MaxSize+10), []string{"are too many"}, path + ": one mistake"},
	}
	for _, tt := range tests {
		if err := os.WriteFile(path, []byte(tt.document), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := execute(t, t.Context(), "config", "validate", path)
		if got := errorText(err); got != tt.err {
			t.Errorf("%s: error %q, want %q", tt.name, got, tt.err)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: output %q, want %q in it", tt.name, out, want)
			}
		}
	}
	if _, err := execute(t, t.Context(), "config", "validate", path+"x"); err == nil || !strings.Contains(err.Error(), path+"x") {
		t.Errorf("error %v does not name the file that is missing", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestConfigDefaultIsTheDefault(t *testing.T) {
	out, err := execute(t, t.Context(), "config", "default")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse([]byte(out))
	if err != nil || !reflect.DeepEqual(c, config.Default()) {
		t.Errorf("got %+v, %v, want the default", c, err)
	}
	// What stands there as comments is right, too.
	if _, err := config.Parse([]byte(strings.NewReplacer("\n#", "\n").Replace(out[strings.Index(out, "apiVersion"):]))); err != nil {
		t.Errorf("the example in the comments is wrong: %v", err)
	}
}

func TestConfigSchema(t *testing.T) {
	out, err := execute(t, t.Context(), "config", "schema")
	var s struct{ Properties map[string]any }
	if err != nil || json.Unmarshal([]byte(out), &s) != nil || s.Properties["hostname"] == nil {
		t.Errorf("no schema: %v in %q", err, out)
	}
}
