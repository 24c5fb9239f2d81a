package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder fills a Config from a YAML tree, strictly, and remembers where each
// field stood so that validation can name the place.
type decoder struct {
	positions map[string]*yaml.Node
	// named are the paths of lists' items by what names them (itemPath), by their
	// paths by number.
	named map[string]string
	// kept returns what a secret is that stands at path as "(secret)"; "" and a
	// hint when that is nothing.
	kept func(path string) (value Secret, hint string)
	errs Errors
}

func (d *decoder) document(n *yaml.Node, c *Config) {
	d.value(n, reflect.ValueOf(c).Elem(), "")
}

func (d *decoder) fail(n *yaml.Node, field, hint, format string, args ...any) {
	e := &Error{Field: field, Message: fmt.Sprintf(format, args...), Hint: hint}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	d.errs = append(d.errs, e)
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	d.positions[path] = n
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fail(n, path, "write the value out", "anchors and aliases are not allowed")
		return
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // "key:" with nothing behind it is the default
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.value(n, p.Elem(), path)
		v.Set(p)
	case reflect.Struct:
		d.mapping(n, path, func(key, value *yaml.Node) { d.structField(key, value, v, path) })
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		d.mapping(n, path, func(key, value *yaml.Node) {
			item := reflect.New(v.Type().Elem()).Elem()
			d.value(value, item, join(path, key.Value))
			v.SetMapIndex(reflect.ValueOf(key.Value), item)
		})
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.fail(n, path, "write [value] or one \"- value\" a line", "must be a list, not %s", describe(n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, item := range n.Content {
			at := path + "[" + strconv.Itoa(i) + "]"
			if name, ok := entry(item, naming(v.Type().Elem())); ok {
				if d.named == nil {
					d.named = map[string]string{}
				}
				d.named[at] = itemPath(path, name)
			}
			d.value(item, v.Index(i), at)
		}
	default:
		d.scalar(n, v, path)
	}
}

// entry returns the text of a mapping's field.
func entry(n *yaml.Node, field string) (string, bool) {
	for i := 0; field != "" && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			return n.Content[i+1].Value, true
		}
	}
	return "", false
}

// place is where a secret stands that is kept: path, with what names the item in
// place of its number if it is in a list.
func (d *decoder) place(path string) string {
	if i := strings.LastIndexByte(path, ']'); i >= 0 {
		if named, ok := d.named[path[:i+1]]; ok {
			return named + path[i+1:]
		}
	}
	return path
}

// mapping calls each for every entry of n, which must be a mapping with unique
// plain keys.
func (d *decoder) mapping(n *yaml.Node, path string, each func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "", "must be a mapping, not %s", describe(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Anchor != "" {
			d.fail(key, path, "", "keys must be plain words")
			continue
		}
		if line, twice := seen[key.Value]; twice {
			d.fail(key, join(path, key.Value), "remove one of them", "stands twice, first on line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		each(key, value)
	}
}

func (d *decoder) structField(key, value *yaml.Node, v reflect.Value, path string) {
	names := make([]string, 0, v.NumField())
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		if name == key.Value {
			d.value(value, v.Field(i), join(path, name))
			return
		}
		names = append(names, name)
	}
	hint := "known here: " + strings.Join(names, ", ")
	if name := nearest(key.Value, names); name != "" {
		hint = "did you mean " + name + "?"
	}
	if join(path, key.Value) == "api" { // held certificates before there were networks
		hint = "remove it: a node gets its certificate when it is enrolled, by membership.invite or by mycelium node enrol"
	}
	d.fail(key, join(path, key.Value), hint, "unknown field")
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "", "must be a single value, not %s", describe(n))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		yes := strings.EqualFold(n.Value, "true")
		if n.Tag != "!!bool" || !yes && !strings.EqualFold(n.Value, "false") {
			d.fail(n, path, "write true or false", "must be true or false")
			return
		}
		v.SetBool(yes)
	case reflect.String:
		if n.Tag != "!!str" {
			hint := "write it in quotes"
			if v.Type() != reflect.TypeFor[Secret]() {
				hint = "write \"" + n.Value + "\" in quotes"
			}
			d.fail(n, path, hint, "must be text, not %s", describe(n))
			return
		}
		value := n.Value
		if v.Type() == reflect.TypeFor[Secret]() && value == redacted {
			secret, hint := d.kept(d.place(path))
			if secret == "" {
				d.fail(n, path, hint, "is what is shown in place of a secret")
				return
			}
			value = secret.Reveal()
		}
		v.SetString(value)
	}
}

// describe names what n is, for an error message.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!str":
		return "text"
	case "!!timestamp":
		return "a date"
	}
	return "a value with a tag" // which may be a secret that begins with "!"
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
