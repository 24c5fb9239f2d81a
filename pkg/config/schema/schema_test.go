package schema

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/nodeconfig.schema.json")

// TestPublished proves that the published schema is that of the types.
func TestPublished(t *testing.T) {
	got, err := Generate("..")
	if err != nil {
		t.Fatal(err)
	}
	const path = "../../../docs/nodeconfig.schema.json"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not the schema of the types: go test ./pkg/config/schema -update", path)
	}
}

func TestGenerateWithoutSource(t *testing.T) {
	if _, err := Generate(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no Go files") {
		t.Errorf("error %v", err)
	}
}
