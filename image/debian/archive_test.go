package debian

import "testing"

const deb822 = `Types: deb
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/
Suites: x
Components: main
`

func TestChooseArchive(t *testing.T) {
	tests := []struct {
		name, file, text, main, security string
	}{
		{"deb822", "debian.sources", deb822, "http://mirror.example/debian", "http://mirror.example/debian-security"},
		{
			"one-line", "sources.list", "# deb http://no.example x main\n" +
				"deb [arch=amd64 signed-by=/k.gpg] https://vendor.example/debian bookworm stable\n" +
				"deb [arch=amd64] http://m.example/debian/ bookworm main contrib # note\n" +
				"deb http://s.example bookworm-security main\n",
			"http://m.example/debian", "http://s.example",
		},
	}
	for _, tt := range tests {
		entries, err := parseSources(tt.file, tt.text)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		a, err := chooseArchive(entries)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if a.Main != tt.main || a.Security != tt.security {
			t.Errorf("%s: got %q and %q, want %q and %q", tt.name, a.Main, a.Security, tt.main, tt.security)
		}
	}
}

func TestChooseArchiveWithoutDebian(t *testing.T) {
	if _, err := chooseArchive([]entry{{uri: "http://v.example", suite: "x", components: []string{"stable"}}}); err == nil {
		t.Error("no error for sources without a component main")
	}
}

func TestSecuritySuiteNeedsSecurityArchive(t *testing.T) {
	if _, err := (Archive{Main: "http://m.example"}).base("trixie-security"); err == nil {
		t.Error("no error for a security suite without a security archive")
	}
}
