package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

// One owner with one key, from the key to a node's view of the server.
func TestReleaseFromKeyToServer(t *testing.T) {
	d := newDesk(t)
	in := func(name string) string { return filepath.Join(d.dir, name) }
	d.refused("", "release create "+in("repo"), "release key new")
	d.run("release key new " + in("k") + " --recipient " + d.recipient)
	d.refused("", "release key new "+in("k")+" --recipient "+d.recipient, "never overwritten")
	digest, _ := d.run("release create " + in("repo") + " --key " + in("k.pub") + " --sign-with " + in("k") + " --identity " + d.identity)
	if !strings.HasPrefix(digest, "sha256:") || len(digest) != 72 {
		t.Errorf("create prints %q", digest)
	}
	digest = strings.TrimSpace(digest)
	d.write("os.efi", "an operating system")
	add := "release add " + in("repo") + " --board x86 --file " + in("os.efi") + " --version "
	d.refused("", add+"1 --wave 10%", "--wave")
	d.refused("", add+"1", "semantic version")
	d.run(add + "1.0.0 --wave 10%@0h,100%@24h --notes hello")
	d.refused("", "release publish "+in("repo"), "signatures are missing")
	d.run("release sign " + in("repo") + " --key " + in("k") + " --identity " + d.identity)
	d.refused("", "release sign "+in("repo")+" --key "+in("k")+" --identity "+d.identity, "nothing to do")
	d.run("release publish " + in("repo") + " --to " + in("www"))
	d.run("release publish " + in("repo") + " --to " + in("www"))

	server := httptest.NewServer(http.FileServer(http.Dir(in("www"))))
	defer server.Close()
	out, _ := d.run("release verify " + server.URL + " -o json --root " + digest)
	var v releaseView
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Releases) != 1 || v.Releases[0].Version != "1.0.0" || v.Releases[0].Notes != "hello" || v.Root != digest {
		t.Errorf("%+v", v)
	}
	d.refused("", "release verify "+server.URL+" --root sha256:"+strings.Repeat("0", 64), "not the configured root")
	out, _ = d.run("release show " + in("repo"))
	for _, word := range []string{digest, "1.0.0", "10%@0s,100%@24h0m0s", "timestamp"} {
		if !strings.Contains(out, word) {
			t.Errorf("show prints no %q: %s", word, out)
		}
	}
	d.run("release withdraw " + in("repo") + " --board x86 --version 1.0.0")
	d.run("release sign " + in("repo") + " --renew targets --key " + in("k") + " --identity " + d.identity)
	d.run("release publish " + in("repo"))
	out, _ = d.run("release show -o yaml " + in("repo"))
	if strings.Contains(out, "1.0.0\n") {
		t.Errorf("a withdrawn release is shown: %s", out)
	}
}

// Two of three people sign on their own machines, and later one of them is replaced.
func TestReleaseThreshold(t *testing.T) {
	d := newDesk(t)
	in := func(name string) string { return filepath.Join(d.dir, name) }
	create := "release create " + in("repo") + " --threshold root=2,targets=2 --expires timestamp=168h"
	for _, name := range []string{"ann", "bob", "cat", "dan"} {
		d.run("release key new " + in(name) + " --recipient " + d.recipient)
		if name != "dan" {
			create += " --key root=" + in(name+".pub") + " --key targets=" + in(name+".pub")
		}
	}
	create += " --key " + in("cat.pub")
	d.refused("", create+" --expires root=soon", "--expires")
	d.refused("", create+" --threshold boss=1", "boss")
	d.refused("", create+" --key boss="+in("cat.pub"), "boss")
	if out, _ := d.run(create); out != "" {
		t.Errorf("the digest of an unsigned root is %q", out)
	}
	sign := func(name string) (string, string) {
		return d.run("release sign " + in("repo") + " --key " + in(name) + " --identity " + d.identity)
	}
	if out, log := sign("ann"); out != "" || !strings.Contains(log, "root version 1 has 1 signatures and needs 2") {
		t.Errorf("%q, %q", out, log)
	}
	if out, _ := d.run("release show " + in("repo")); !strings.Contains(out, "STAGED") {
		t.Errorf("show prints %s", out)
	}
	if out, log := sign("cat"); !strings.HasPrefix(out, "sha256:") || !strings.Contains(log, "publish") {
		t.Errorf("%q, %q", out, log)
	}
	d.run("release publish " + in("repo"))
	d.run("release rotate " + in("repo") + " --key root=" + in("ann.pub") + " --key root=" + in("dan.pub"))
	sign("dan")
	d.refused("", "release publish "+in("repo"), "signatures are missing")
	sign("ann")
	d.refused("", "release publish "+in("repo"), "signatures are missing") // two of the old ones are needed
	sign("cat")
	d.run("release publish " + in("repo"))
	d.run("release verify " + in("repo"))
}

func TestReleaseIndexIsPublished(t *testing.T) {
	d := newDesk(t)
	cmd := newReleaseAddCommand()
	d.run("release key new " + filepath.Join(d.dir, "k") + " --recipient " + d.recipient)
	repo := filepath.Join(d.dir, "repo")
	d.run("release create " + repo + " --key " + filepath.Join(d.dir, "k.pub"))
	cmd.SetArgs([]string{repo, "--board", "x86", "--version", "1.0.0", "--file", d.write("os.efi", "os")})
	cmd.SetErr(io.Discard)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.run("release sign " + repo + " --key " + filepath.Join(d.dir, "k") + " --identity " + d.identity)
	d.run("release publish " + repo)
	out, _ := d.run("release show -o json " + repo)
	var v releaseView
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	client, err := release.Open(release.Options{Root: v.Root, Fetch: release.Directory(repo), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := client.Index(t.Context(), v.Releases[0])
	if err != nil {
		t.Fatal(err)
	}
	index, err := delta.Parse(encoded)
	if err != nil || index.Digest() != v.Releases[0].OS.Digest {
		t.Errorf("the index is of %+v, %v", index, err)
	}
}

// An OS file says its board and its version itself; another file must be named.
func TestReleaseOfAnOSFile(t *testing.T) {
	d := newDesk(t)
	in := func(name string) string { return filepath.Join(d.dir, name) }
	d.run("release key new " + in("k") + " --recipient " + d.recipient)
	d.run("release create " + in("repo") + " --key " + in("k.pub"))
	file := d.write("os.efi", string(osFile(t, "ID=mycelium\nVERSION_ID=1.4.0\nVARIANT_ID=toaster\n")))
	if _, log := d.run("release add " + in("repo") + " --file " + file); !strings.Contains(log, "toaster/1.4.0") {
		t.Errorf("%q", log)
	}
	d.refused("", "release add "+in("repo")+" --file "+d.write("other", "something else"), "must say so itself")
}
