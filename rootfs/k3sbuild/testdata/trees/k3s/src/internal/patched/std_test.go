package patched

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Name string
	Tags map[string]string
}

func (inner) Method() string { return "called" }

type outer struct {
	*inner
	List []inner
	Any  any
	Func func(string) string
}

// TestTemplates reads fields, maps, pointers and functions of a template's
// data, all that K3s' templates do.
func TestTemplates(t *testing.T) {
	data := outer{
		inner: &inner{Name: "a", Tags: map[string]string{"k": "v"}},
		List:  []inner{{Name: "b"}, {Name: "c"}},
		Any:   map[string]any{"x": 1},
		Func:  strings.ToUpper,
	}
	for text, want := range map[string]string{
		`{{.Name}}`: "a",
		`{{.Tags.k}}{{with .Tags}}{{index . "k"}}{{end}}`:   "vv",
		`{{range $i, $e := .List}}{{$i}}{{$e.Name}}{{end}}`: "0b1c",
		`{{.Any.x}}`:          "1",
		`{{call .Func "up"}}`: "UP",
		`{{if and .Name (not .Tags.no)}}yes{{end}}`: "yes",
		`{{printf "%q" .Name | len}}`:               "3",
	} {
		var b bytes.Buffer
		err := template.Must(template.New("").Parse(text)).Execute(&b, data)
		if err != nil || b.String() != want {
			t.Errorf("%s: %q, %v; want %q", text, &b, err, want)
		}
	}
}

// TestNoMethods expects what was cut out to fail and not to be passed over.
func TestNoMethods(t *testing.T) {
	tmpl := template.Must(template.New("").Parse(`{{.Method}}`))
	if err := tmpl.Execute(new(bytes.Buffer), inner{}); err == nil || !strings.Contains(err.Error(), "Method") {
		t.Errorf("a template calls a method: %v", err)
	}
	for name, walk := range map[string]func(){
		"Type":  func() { reflect.TypeFor[inner]().Methods() },
		"Value": func() { reflect.ValueOf(inner{}).Methods() },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "left out") {
					t.Errorf("methods of a %s: %v", name, r)
				}
			}()
			walk()
		}()
	}
}

// TestInterfacesStay expects what encoders and printers rest on: methods that
// are found by interface, not by name.
func TestInterfacesStay(t *testing.T) {
	content, err := json.Marshal(map[string]any{"raw": json.RawMessage(`{"a":1}`)})
	if err != nil || string(content) != `{"raw":{"a":1}}` {
		t.Errorf("%s, %v", content, err)
	}
	if got := fmt.Sprint(reflect.TypeFor[fmt.Stringer]()); got != "fmt.Stringer" {
		t.Error(got)
	}
	var b bytes.Buffer
	if err := template.Must(template.New("").Parse(`{{.}}`)).Execute(&b, reflect.TypeFor[inner]()); err != nil || !strings.HasSuffix(b.String(), "inner") {
		t.Errorf("a Stringer in a template: %q, %v", &b, err)
	}
}

func TestCompareInterfaces(t *testing.T) {
	type holder struct{ V interface{ Error() string } }
	if diff := cmp.Diff(holder{}, holder{}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(holder{}, holder{V: fmt.Errorf("x")}, cmp.Comparer(func(a, b error) bool { return a == b })); diff == "" {
		t.Error("no difference between nil and an error")
	}
}
