package config

import (
	"reflect"
	"slices"
	"testing"
)

// TestEveryFieldIsClassified proves that whoever adds a field says whether a
// running node takes it, and that Compare sees its change.
func TestEveryFieldIsClassified(t *testing.T) {
	old, fields := Default(), 0
	next := full(t)
	next.APIVersion, next.Kind = "other", "other"
	changes := Compare(old, next)
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			field := join(path, f.Tag.Get("yaml"))
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, field)
				continue
			}
			fields++
			class := f.Tag.Get("change")
			if class != "now" && class != "reboot" {
				t.Errorf("%s: tag change is %q: write \"now\" or \"reboot\"", field, class)
			}
			if want := (Change{field, class == "reboot"}); !slices.Contains(changes, want) {
				t.Errorf("%s: the change is not reported as %+v (does full set it?): %+v", field, want, changes)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	if len(changes) != fields {
		t.Errorf("%d changes of %d fields: %+v", len(changes), fields, changes)
	}
}

func TestCompare(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   []Change
	}{
		{"nothing", func(*Config) {}, nil},
		{"nothing, said otherwise", func(c *Config) { c.Time.Servers = []string{}; c.Kubernetes.Labels = map[string]string{} }, nil},
		{"at once", func(c *Config) { c.Time.Servers = []string{"a"} }, []Change{{"time.servers", false}}},
		{"reboot", func(c *Config) { c.Hostname = "a" }, []Change{{"hostname", true}}},
		{"within a list", func(c *Config) { c.Network.Interfaces = []Interface{{Name: "a"}} }, []Change{{"network.interfaces", true}}},
		{
			"both, in the document's order", func(c *Config) { c.Console.Dashboard = new(bool); c.Membership.Invite = "a" },
			[]Change{{"membership.invite", true}, {"console.dashboard", false}},
		},
	}
	for _, tt := range tests {
		next := Default()
		tt.change(next)
		got := Compare(Default(), next)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
		if NeedsReboot(got) != slices.ContainsFunc(tt.want, func(c Change) bool { return c.Reboot }) {
			t.Errorf("%s: NeedsReboot is %v", tt.name, NeedsReboot(got))
		}
	}
	if c := full(t); Compare(c, c) != nil {
		t.Error("a configuration differs from itself")
	}
}

func TestApplied(t *testing.T) {
	running, next := Default(), full(t)
	got := Applied(running, next)
	if !running.IsDefault() {
		t.Errorf("the running configuration was changed: %+v", running)
	}
	for _, c := range Compare(got, next) {
		if !c.Reboot {
			t.Errorf("%s changes at once and was not taken", c.Field)
		}
	}
	for _, c := range Compare(running, got) {
		if c.Reboot {
			t.Errorf("%s was taken and needs a reboot", c.Field)
		}
	}
}

func TestIsDefault(t *testing.T) {
	for doc, want := range map[string]bool{
		head:                               true,
		head + "network: {}\nhostname:\n":  true,
		head + "hostname: a\n":             false,
		head + "network: {interfaces: []}": false,
	} {
		if c, err := Parse([]byte(doc)); err != nil || c.IsDefault() != want {
			t.Errorf("%q: %v, want %v (%v)", doc, !want, want, err)
		}
	}
}
