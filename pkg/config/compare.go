package config

import "reflect"

// Change is a field whose value differs between two configurations.
type Change struct {
	// Field is its path, e.g. "time.servers". A list or a map is one field.
	Field string `json:"field"`
	// Reboot says that the node takes the new value when it boots, not before.
	Reboot bool `json:"reboot"`
}

// Compare returns what changes from running to next, in the order of the
// document; nothing when both say the same. A list that is empty and one that is
// not there are the same.
func Compare(running, next *Config) []Change {
	return compare(reflect.ValueOf(running).Elem(), reflect.ValueOf(next).Elem(), "", nil)
}

// NeedsReboot reports whether one of the changes waits for the next boot.
func NeedsReboot(changes []Change) bool {
	for _, c := range changes {
		if c.Reboot {
			return true
		}
	}
	return false
}

// Applied returns what a node runs with that takes next without a reboot:
// running with those fields of next that change at once.
func Applied(running, next *Config) *Config {
	out := *running
	apply(reflect.ValueOf(&out).Elem(), reflect.ValueOf(next).Elem())
	return &out
}

func apply(a, b reflect.Value) {
	for i := range a.NumField() {
		switch f := a.Type().Field(i); {
		case f.Type.Kind() == reflect.Struct:
			apply(a.Field(i), b.Field(i))
		case f.Tag.Get("change") == "now":
			a.Field(i).Set(b.Field(i))
		}
	}
}

func compare(a, b reflect.Value, path string, changes []Change) []Change {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		field := join(path, f.Tag.Get("yaml"))
		switch {
		case f.Type.Kind() == reflect.Struct:
			changes = compare(a.Field(i), b.Field(i), field, changes)
		case !same(a.Field(i), b.Field(i)):
			changes = append(changes, Change{Field: field, Reboot: f.Tag.Get("change") != "now"})
		}
	}
	return changes
}

func same(a, b reflect.Value) bool {
	if k := a.Kind(); (k == reflect.Slice || k == reflect.Map) && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// IsDefault reports whether c sets nothing: a document that only says what it
// is, as the one that an image carries.
func (c *Config) IsDefault() bool { return reflect.DeepEqual(c, Default()) }
