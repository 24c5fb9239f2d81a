package debian

import (
	"reflect"
	"strings"
	"testing"
)

func TestReadControl(t *testing.T) {
	const text = "Package: a\nSize: 1\nChecksums-Sha256:\n x 1 f\n y 2 g\n\n# comment\nPackage: b\n\n\n"
	var got []paragraph
	err := readControl(strings.NewReader(text), func(p paragraph) error { got = append(got, p); return nil })
	if err != nil {
		t.Fatal(err)
	}
	want := []paragraph{
		{"Package": "a", "Size": "1", "Checksums-Sha256": "\nx 1 f\ny 2 g"},
		{"Package": "b"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadControlRefuses(t *testing.T) {
	for _, text := range []string{" continues nothing\n", "no field\n", ": no name\n"} {
		if err := readControl(strings.NewReader(text), func(paragraph) error { return nil }); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestIndexFilesRefuse(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for name, p := range map[string]paragraph{
		"path leaves the archive": {"Filename": "../x.deb", "Size": "1", "SHA256": sum},
		"absolute path":           {"Filename": "/x.deb", "Size": "1", "SHA256": sum},
		"short hash":              {"Filename": "x.deb", "Size": "1", "SHA256": "abcd"},
		"no size":                 {"Filename": "x.deb", "SHA256": sum},
		"zero size":               {"Filename": "x.deb", "Size": "0", "SHA256": sum},
	} {
		if _, err := binaryFiles(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, p := range map[string]paragraph{
		"no files":   {"Directory": "pool"},
		"two fields": {"Directory": "pool", "Checksums-Sha256": sum + " 1"},
		"leaves":     {"Directory": "pool", "Checksums-Sha256": sum + " 1 ../../../x"},
	} {
		if _, err := sourceFiles(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzReadControl(f *testing.F) {
	f.Add("Package: a\nFilename: pool/a.deb\nSize: 3\nSHA256: " + strings.Repeat("0", 64) + "\n\n")
	f.Add("Package: s\nDirectory: pool\nChecksums-Sha256:\n " + strings.Repeat("0", 64) + " 3 s.dsc\n")
	f.Fuzz(func(t *testing.T, text string) {
		_ = readControl(strings.NewReader(text), func(p paragraph) error {
			for _, read := range []func(paragraph) ([]File, error){binaryFiles, sourceFiles} {
				files, err := read(p)
				for _, file := range files {
					if cerr := file.check(); err == nil && cerr != nil {
						t.Errorf("accepted %+v: %v", file, cerr)
					}
				}
			}
			return nil
		})
	})
}
