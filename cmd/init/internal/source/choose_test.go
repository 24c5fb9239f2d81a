package source

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

const (
	head   = "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\n"
	wrong  = head + "hostnam: a\n"
	pinned = "http://example.org/node.yaml#sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func named(hostname string) string { return head + "hostname: " + hostname + "\n" }

func found(name, document string) Candidate { return Found(name, name, []byte(document), nil) }

func remote(t *testing.T) Candidate {
	t.Helper()
	l, err := ParseLocation(pinned)
	if err != nil {
		t.Fatal(err)
	}
	return Remote(l, nil)
}

func TestChoose(t *testing.T) {
	file, fwCfg, none := found("file", named("file")), found("fw_cfg", named("vm")), Candidate{Name: "smbios"}
	empty := found("file", head+"# nothing\n")
	url := remote(t)
	kept := url
	kept.Document = []byte(named("remote"))
	broken := Found("file", "file", nil, errors.New("input/output error"))
	list := func(c ...Candidate) []Candidate { return c }
	set := func(document string, seen ...Candidate) *Set { s := NewSet(seen, []byte(document)); return &s }
	tests := []struct {
		name       string
		candidates []Candidate
		set        *Set
		from       string
		hostname   string
		fetch      bool
		err        string
	}{
		{"nothing at all", nil, nil, "", "", false, ""},
		{"nothing anywhere", list(none, none), nil, "", "", false, ""},
		{"the file", list(file, url, fwCfg), nil, "file", "file", false, ""},
		{"a file that sets nothing", list(empty, fwCfg), nil, "fw_cfg", "vm", false, ""},
		{"the URL before the machine's owner", list(none, url, fwCfg), nil, "http://example.org/node.yaml", "", true, ""},
		{"the URL as it was fetched", list(none, kept, fwCfg), nil, "http://example.org/node.yaml", "remote", false, ""},
		{"what the API set, alone", list(none), set(named("set")), SetName, "set", false, ""},
		{"the API replaced the file", list(file), set(named("set"), file), SetName, "set", false, ""},
		{"the API replaced all", list(file, url, fwCfg), set(named("set"), file, url, fwCfg), SetName, "set", false, ""},
		{"the file was edited", list(found("file", named("edited")), fwCfg), set(named("set"), file, fwCfg), "file", "edited", false, ""},
		{"the image's file was edited", list(found("file", named("edited"))), set(named("set"), empty), "file", "edited", false, ""},
		{"back to DHCP by the file", list(found("file", head+"network: {interfaces: []}\n")), set(named("set"), file), "file", "", false, ""},
		{"the file was emptied", list(empty), set(named("set"), file), SetName, "set", false, ""},
		{"the file was deleted", list(none), set(named("set"), file), SetName, "set", false, ""},
		{"the virtual machine got another", list(empty, found("fw_cfg", named("other"))), set(named("set"), empty, fwCfg), "fw_cfg", "other", false, ""},
		{"the same document in another place", list(found("smbios", named("vm"))), set(named("set"), fwCfg), "smbios", "vm", false, ""},
		{"the API set the defaults", list(file), set(head, file), "", "", false, ""},
		{"a wrong file is the end", list(found("file", wrong), fwCfg), set(named("set"), file), "file", "", false, "file is wrong: line 3"},
		{"a wrong file that the API replaced", list(found("file", wrong)), set(named("set"), found("file", wrong)), SetName, "set", false, ""},
		{"a place that cannot be read is the end", list(broken, fwCfg), nil, "file", "", false, "file cannot be read: input/output error"},
		{"the API replaced a place that cannot be read", list(broken, fwCfg), set(named("set"), broken, fwCfg), SetName, "set", false, ""},
		{"a place cannot be read any more", list(broken), set(named("set"), file), "file", "", false, "file cannot be read"},
		{"what the API set is wrong", list(none), set(wrong), SetName, "", false, "what the API set is wrong: line 3"},
		{"a foreign file", list(found("file", "\x7fELF\x02\x00\x00")), nil, "file", "", false, "file is wrong"},
		{"a truncated file", list(found("file", head+"hostname: \"ki")), nil, "file", "", false, "file is wrong"},
		{"an empty file", list(found("file", "")), nil, "file", "", false, "the document is empty"},
		{"an oversized file", list(found("file", strings.Repeat("#", 1<<20+1))), nil, "file", "", false, "are too many"},
	}
	for _, tt := range tests {
		got := Choose(tt.candidates, tt.set)
		if got.Name != tt.from || got.Config.Hostname != tt.hostname || got.Fetch != tt.fetch {
			t.Errorf("%s: %q with host name %q, fetch %v; want %q, %q, %v", tt.name, got.Name, got.Config.Hostname, got.Fetch, tt.from, tt.hostname, tt.fetch)
		}
		if (got.Err != nil) != (tt.err != "") || got.Err != nil && !strings.Contains(got.Err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.name, got.Err, tt.err)
		}
		if fromURL := strings.HasPrefix(tt.from, "http"); (got.Location != nil) != fromURL {
			t.Errorf("%s: location %v", tt.name, got.Location)
		}
		if got.Err != nil && !got.Config.IsDefault() {
			t.Errorf("%s: runs with %+v in spite of the error", tt.name, got.Config)
		}
	}
}

func TestChoiceSaysWhatTheNodeRunsWith(t *testing.T) {
	for want, candidates := range map[string][]Candidate{
		"the defaults": {Found("file", "file", nil, nil)},
		"the defaults, because file cannot be used":                                {found("file", wrong)},
		"the defaults, until there is an answer from http://example.org/node.yaml": {remote(t)},
		"file": {found("file", named("a"))},
	} {
		if got := Choose(candidates, nil).String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestReplacedIsSaid(t *testing.T) {
	file := found("file", named("a"))
	s := NewSet([]Candidate{file, {Name: "none"}}, []byte(named("b")))
	if got := Choose([]Candidate{file}, &s).Replaced; !slices.Equal(got, []string{"file"}) {
		t.Errorf("replaced %v", got)
	}
}

func TestDocumentsAreNotShown(t *testing.T) {
	c := found("file", "s3cret")
	s := NewSet([]Candidate{c}, []byte("s3cret"))
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&out, verb+verb+verb+verb, c, []Candidate{c}, s, &s)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "candidate", c, "set", s)
	for _, secret := range []string{"s3cret", fmt.Sprintf("%x", "s3cret"), fmt.Sprintf("%d", []byte("s3cret"))} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q shows in %s", secret, out.String())
		}
	}
}

func TestSetRoundTrip(t *testing.T) {
	b, err := NewSet([]Candidate{found("file", named("a"))}, []byte(named("b"))).Encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err := DecodeSet(b)
	if err != nil || s.Document != named("b") || len(s.Replaces) != 1 || strings.Contains(s.Replaces[0], "hostname") {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := DecodeSet(b[:len(b)/2]); err == nil {
		t.Error("half a file is accepted")
	}
}
