package config

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
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
	n := fill(t, reflect.ValueOf(c).Elem(), "")
	if n == 0 {
		t.Fatal("no secret found in Config")
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", *c)
		fmt.Fprintf(&out, verb+"\n", c.Membership.Invite)
		fmt.Fprintf(&out, verb+"\n", []Secret{c.Membership.Invite})
		fmt.Fprintf(&out, verb+"\n", &c.Membership.Invite)
	}
	fmt.Fprintln(&out, c, *c, errors.New(c.Membership.Invite.String()))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "config", c, "value", *c, "invite", c.Membership.Invite, slog.Group("g", "membership", c.Membership), "list", []any{c.Membership.Invite, c})
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	b, err := xml.Marshal(c.Membership)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	shown, err := c.DisplayDocument()
	if err != nil || bytes.Count(shown, []byte(redacted)) != n {
		t.Errorf("the document to show holds not %d secrets as %s: %v\n%s", n, redacted, err, shown)
	}
	out.Write(shown)
	hidden(t, "what was formatted", out.String())
	if c.Membership.Invite.Reveal() != canary {
		t.Error("Reveal does not")
	}
	doc, err := c.Document()
	if err != nil || bytes.Count(doc, []byte(canary)) != n {
		t.Errorf("the document for the node leaves secrets out: %v\n%s", err, doc)
	}
	_, err = Parse(shown)
	if err == nil || !strings.Contains(err.Error(), "in place of a secret") {
		t.Errorf("Parse takes what is shown for the secret: %v", err)
	}
}

// hidden checks that the secret stands nowhere in text, in no encoding that
// formatting uses.
func hidden(t *testing.T, what, text string) {
	t.Helper()
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))
	for _, s := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("%d", []byte(canary)), encoded} {
		if strings.Contains(text, s) {
			t.Errorf("the secret shows as %q in %s:\n%s", s, what, text)
		}
	}
}

// TestErrorsHideSecrets writes every secret of Config in every way that Parse
// refuses.
func TestErrorsHideSecrets(t *testing.T) {
	secrets := 0
	secretPaths(reflect.TypeFor[Config](), "%s", func(format string) {
		secrets++
		for _, value := range []string{
			canary, "'" + canary + "'", "[" + canary + "]", "{a: " + canary + "}", "&a " + canary, "*" + canary, "!" + canary + " a", "!!int " + canary,
			"'" + canary, "\"" + canary + "\\z\"", "[" + canary, "{a: " + canary, "\"" + canary + "\" x", "'" + canary + "' 'b'", "@" + canary, "%%" + canary, "4711, a: [" + canary,
			"!!binary " + canary, "!!timestamp " + canary, "!<" + canary + "> x", "\t- " + canary, "\"-----BEGIN PRIVATE KEY-----\\n" + canary + "\\n-----END PRIVATE KEY-----\"",
		} {
			document := head + fmt.Sprintf(format, value) + "\n"
			_, err := Parse([]byte(document))
			if err == nil {
				t.Errorf("accepted: %s", document)
				continue
			}
			hidden(t, "the error of "+document, fmt.Sprintf("%v %+v %#v", err, err, err))
			var list Errors
			if errors.As(err, &list) {
				for _, e := range list {
					hidden(t, "the error of "+document, e.At("node.yaml"))
				}
			}
		}
	})
	if secrets == 0 {
		t.Fatal("no secret found in Config")
	}
}

// secretPaths calls each with a format for every Secret below typ: a flow-style
// document with the secret as its verb.
func secretPaths(typ reflect.Type, around string, each func(format string)) {
	switch {
	case typ == reflect.TypeFor[Secret]():
		each(around)
	case typ.Kind() == reflect.Pointer:
		secretPaths(typ.Elem(), around, each)
	case typ.Kind() == reflect.Slice:
		secretPaths(typ.Elem(), fmt.Sprintf(around, "[%s]"), each)
	case typ.Kind() == reflect.Map:
		secretPaths(typ.Elem(), fmt.Sprintf(around, "{a: %s}"), each)
	case typ.Kind() == reflect.Struct:
		for i := range typ.NumField() {
			inner := typ.Field(i).Tag.Get("yaml") + ": %s"
			if around != "%s" {
				inner = fmt.Sprintf(around, "{"+inner+"}")
			}
			secretPaths(typ.Field(i).Type, inner, each)
		}
	}
}
