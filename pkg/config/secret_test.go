package config

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const canary = "canary-4711"

// fill puts the canary into every Secret below v, making pointers, slices and
// maps where there are none, and returns how many it filled. Every field whose
// name sounds secret must be a Secret.
func fill(t *testing.T, v reflect.Value, name string) int {
	secretName := regexp.MustCompile(`(?i)(key|secret|token|password|passphrase|credential)s?$`)
	if v.Type() == reflect.TypeFor[Secret]() {
		v.SetString(canary)
		return 1
	}
	n := 0
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		n += fill(t, v.Elem(), name)
	case reflect.Struct:
		for i := range v.NumField() {
			n += fill(t, v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		n += fill(t, v.Index(0), name)
	case reflect.Map:
		item := reflect.New(v.Type().Elem()).Elem()
		n += fill(t, item, name)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("a").Convert(v.Type().Key()), item)
	case reflect.String:
		if secretName.MatchString(name) {
			t.Errorf("field %s sounds secret and is a %s, want Secret", name, v.Type())
		}
	}
	return n
}

func TestSecretsStaySecret(t *testing.T) {
	c := &Config{}
	if n := fill(t, reflect.ValueOf(c).Elem(), ""); n == 0 {
		t.Fatal("no secret found in Config")
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", *c)
		fmt.Fprintf(&out, verb+"\n", c.API.Key)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "config", c, "value", *c, "key", c.API.Key)
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	b, err := xml.Marshal(c.API)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	for _, s := range []string{canary, fmt.Sprintf("%x", canary)} {
		if strings.Contains(out.String(), s) {
			t.Errorf("the secret shows as %q in:\n%s", s, out.String())
		}
	}
	if c.API.Key.Reveal() != canary {
		t.Error("Reveal does not")
	}
	doc, err := c.Document()
	if err != nil || !bytes.Contains(doc, []byte(canary)) {
		t.Errorf("Document leaves secrets out: %v\n%s", err, doc)
	}
}
