package durable

import (
	"bytes"
	"testing"
)

func TestSeal(t *testing.T) {
	type value struct{ Name string }
	data, err := Seal(value{"kitchen"})
	if err != nil {
		t.Fatal(err)
	}
	var got value
	if err := Open(data, len(data), &got); err != nil || got.Name != "kitchen" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := Open(data, len(data)-1, &got); err == nil {
		t.Error("more bytes than the limit were taken")
	}
	for n := range data {
		if err := Open(data[:n], len(data), &got); err == nil {
			t.Errorf("%d bytes of %d were taken", n, len(data))
		}
	}
	for i := range data {
		for bit := range 8 {
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << bit
			var got value
			// A key's case means nothing to encoding/json.
			if err := Open(flipped, len(data), &got); err == nil && got.Name != "kitchen" {
				t.Errorf("%s was taken for %+v", flipped, got)
			}
		}
	}
	if _, err := Seal(func() {}); err == nil {
		t.Error("a function was sealed")
	}
}

func FuzzOpen(f *testing.F) {
	data, err := Seal([]string{"a"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"sum":"","state":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []string
		if err := Open(data, 1000, &got); err != nil {
			return
		}
		again, err := Seal(got)
		if err != nil {
			t.Fatal(err)
		}
		if err := Open(again, len(again), &got); err != nil {
			t.Errorf("%q gives %q, which is refused: %v", data, again, err)
		}
	})
}
