package osfile

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/image/uki/ukitest"
)

const release = "ID=mycelium\nNAME=\"Digital Mycelium OS\"\nVERSION_ID=\"0.3.0\"\nVARIANT_ID=qemu-amd64\n"

func osFile(t testing.TB, release string) []byte {
	t.Helper()
	data, err := uki.Build(uki.Parts{
		Stub: ukitest.Stub(5), OSRelease: release, CmdLine: "quiet", Uname: "6.12.1", Linux: []byte("linux"), Initrd: []byte("initrd"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDescribe(t *testing.T) {
	data := osFile(t, release)
	got, err := Describe(bytes.NewReader(data))
	if want := (Description{"0.3.0", "qemu-amd64", sha256.Sum256(data), uint64(len(data))}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for want, data := range map[string][]byte{
		"no OS file": []byte("hello"), "section .osrel": ukitest.Stub(5), `ID="debian"`: osFile(t, "ID=debian\nVERSION_ID=13\n"), `VERSION_ID=""`: osFile(t, "ID=mycelium\n"),
	} {
		if _, err := Describe(bytes.NewReader(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	whole := osFile(f, release)
	f.Add(whole)
	f.Add(whole[:1000])
	f.Add(osFile(f, "ID=mycelium\nVERSION_ID='0.3.0'\n#VARIANT_ID=x\n"))
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, data []byte) {
		says, err := Describe(bytes.NewReader(data))
		if err != nil {
			return
		}
		if says.Version == "" || says.Size != uint64(len(data)) || says.Digest != sha256.Sum256(data) {
			t.Fatalf("described as %+v", says)
		}
	})
}

func FuzzParseOSRelease(f *testing.F) {
	f.Add(release)
	f.Add("A='b'\nC=\"d e\"\n # x=y\nF=$(rm)\n")
	f.Fuzz(func(t *testing.T, text string) {
		fields, err := parseOSRelease(strings.NewReader(text))
		if err != nil {
			return
		}
		for name, value := range fields {
			if strings.ContainsAny(value, "\n$`\\\"'") || strings.Contains(name, "=") {
				t.Errorf("%q is %q", name, value)
			}
		}
	})
}

func TestParseOSRelease(t *testing.T) {
	fields, err := parseOSRelease(strings.NewReader("# a comment=1\nID=mycelium\nNAME=\"Digital Mycelium OS\"\nX='y z'\n\nodd\n"))
	if err != nil || fmt.Sprint(fields) != "map[ID:mycelium NAME:Digital Mycelium OS X:y z]" {
		t.Errorf("%v, %v", fields, err)
	}
	if _, err := parseOSRelease(strings.NewReader("ID=`id`\n")); err == nil {
		t.Error("what only a shell can read is taken")
	}
	if _, err := parseOSRelease(io.LimitReader(bytes.NewReader(make([]byte, 1<<20)), 1<<20)); err == nil {
		t.Error("an endless line is taken")
	}
}
