package pi

import (
	"maps"
	"testing"
)

// TestParse: the documentation's rules of filters, one by one.
func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		text, model string
		tryboot     bool
		want        settings
	}{
		"all":                  {"a=1\n[all]\nb=2\n", "pi3", false, settings{"a": "1", "b": "2"}},
		"none":                 {"[none]\na=1\n[all]\nb=2\n", "pi3", false, settings{"b": "2"}},
		"later wins":           {"a=1\na=2\n", "pi3", false, settings{"a": "2"}},
		"comments":             {"# a=1\nb=2 # more\n", "pi3", false, settings{"b": "2"}},
		"a model replaces one": {"[pi3]\na=1\n[pi4]\nb=2\n", "pi4", false, settings{"b": "2"}},
		"a 400 is a 4":         {"[pi4]\na=1\n[pi400]\na=2\n", "pi400", false, settings{"a": "2"}},
		"a 4 is no 400":        {"[pi4]\na=1\n[pi400]\na=2\n", "pi4", false, settings{"a": "1"}},
		"kinds combine":        {"[pi3]\n[board-type=0x0d]\na=1\n", "pi3", false, settings{}},
		"both pass":            {"[pi3]\n[board-type=0x0d]\na=1\n", "pi3b+", false, settings{"a": "1"}},
		"zero 2 w":             {"[pi02]\na=1\n", "zero2w", false, settings{"a": "1"}},
		"tryboot":              {"a=1\n[tryboot]\na=2\n", "pi5", true, settings{"a": "2"}},
		"no tryboot":           {"a=1\n[tryboot]\na=2\n", "pi5", false, settings{"a": "1"}},
		"initramfs":            {"initramfs x followkernel\n", "pi5", false, settings{"initramfs": "x followkernel"}},
	} {
		model, err := FindModel(test.model)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parse(test.text, model, test.tryboot); err != nil || !maps.Equal(got, test.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, test.want)
		}
	}
	for _, text := range []string{"[EDID=x]\n", "word\n", "[board-type=x]\n", "a=" + string(make([]byte, 100)) + "\n"} {
		if _, err := parse(text, Models()[0], false); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
