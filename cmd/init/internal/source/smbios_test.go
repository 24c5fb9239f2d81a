package source

import (
	"bytes"
	"encoding/base64"
	"testing"
)

// structure is what the kernel shows of an SMBIOS structure of type 11.
func structure(texts ...string) []byte {
	b := []byte{oemStrings, 5, 0, 11, byte(len(texts))}
	for _, s := range texts {
		b = append(append(b, s...), 0)
	}
	return append(b, 0)
}

func TestFromSMBIOS(t *testing.T) {
	encoded := smbiosPrefix + base64.StdEncoding.EncodeToString([]byte("hello"))
	tests := []struct {
		name string
		in   []byte
		want []byte
		bad  bool
	}{
		{"alone", structure(encoded), []byte("hello"), false},
		{"among others", structure("io.systemd.stub.kernel-cmdline-extra=quiet", encoded), []byte("hello"), false},
		{"without padding", structure(smbiosPrefix + "aGVsbG8"), []byte("hello"), false},
		{"empty", structure(smbiosPrefix), []byte{}, false},
		{"none", structure("other=1"), nil, false},
		{"no strings", structure(), nil, false},
		{"behind the end", append(structure("a"), encoded...), nil, false},
		{"no Base64", structure(smbiosPrefix + "hello world"), nil, true},
		{"another type", append([]byte{1}, structure(encoded)[1:]...), nil, true},
		{"cut short", structure(encoded)[:3], nil, true},
		{"longer than it is", []byte{oemStrings, 200, 0, 0, 1, 'a', 0, 0}, nil, true},
		{"nothing", nil, nil, true},
	}
	for _, tt := range tests {
		got, err := FromSMBIOS(tt.in)
		if !bytes.Equal(got, tt.want) || (got == nil) != (tt.want == nil) || (err != nil) != tt.bad {
			t.Errorf("%s: %q, %v, want %q, error %v", tt.name, got, err, tt.want, tt.bad)
		}
	}
}

func FuzzFromSMBIOS(f *testing.F) {
	f.Add(structure("a", smbiosPrefix+"aGVsbG8="))
	f.Add(structure())
	f.Add([]byte{oemStrings, 200, 0, 0, 1})
	f.Add(structure(smbiosPrefix + "===="))
	f.Fuzz(func(t *testing.T, b []byte) {
		document, err := FromSMBIOS(b)
		if err != nil && document != nil || len(document) > len(b) {
			t.Errorf("%d bytes and %v out of %d", len(document), err, len(b))
		}
	})
}
