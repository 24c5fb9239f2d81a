package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/image/uki/ukitest"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

// osFile is an OS file that says what release says.
func osFile(t testing.TB, release string) []byte {
	t.Helper()
	data, err := uki.Build(uki.Parts{
		Stub: ukitest.Stub(5), OSRelease: release, CmdLine: "quiet", Uname: "6.12.1", Linux: []byte("linux"), Initrd: bytes.Repeat([]byte("initrd"), 50_000),
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// developer makes a key with the command and lets all nodes take files from it.
func (f *farm) developer() (flags string) {
	f.t.Helper()
	path := filepath.Join(f.dir, "dev.age")
	out, log := f.run("update key new " + path + " --recipient " + f.recipient)
	wantLog(f.t, log, "update.developers")
	key, err := identity.ParsePublicKey(strings.TrimSpace(out))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, n := range f.nodes {
		n.slots.developer = key
	}
	f.refused("", "update key new "+path+" --recipient "+f.recipient, "is there already", "never overwritten")
	return " --key " + path + " --identity " + f.identity
}

func TestPush(t *testing.T) {
	f := newFarm(t, 2)
	f.updatable()
	flags := f.developer()
	file := f.write("os.efi", string(osFile(t, image.OSRelease("0.3.0-dev.1", "qemu-amd64"))))
	_, log := f.run("update push " + file + " -n node-1,node-2" + flags)
	wantLog(t, log, "node-1  writes and verifies the file", "node-2  has staged 0.3.0-dev.1", "all 2 nodes done")
	wantEvents(t, sorted(f.events.take(), 2), "push 0.3.0-dev.1 qemu-amd64 false to node-1", "push 0.3.0-dev.1 qemu-amd64 false to node-2")

	_, log = f.run("update push " + file + " -n node-1 --try --downgrade" + flags)
	wantLog(t, log, "node-1  0.3.0-dev.1 is on trial, still waits for the node to be Ready", "0.3.0-dev.1 is good")
	wantEvents(t, f.events.take(), "push 0.3.0-dev.1 qemu-amd64 true to node-1", "try node-1", "good node-1")
	f.nodes[1].slots.fate = "bad"
	f.refused("", "update push "+file+" -n node-2 --try"+flags, "it has rolled back: the", "camera is gone")
	f.nodes[1].slots.fate = "put off"
	f.refused("", "update push "+file+" -n node-2 --try"+flags, "the trial was put off")
}

func TestPushRefusals(t *testing.T) {
	f := newFarm(t, 2)
	f.updatable()
	flags := " -n node-1" + f.developer()
	good := f.write("os.efi", string(osFile(t, image.OSRelease("0.3.0", "qemu-arm64"))))
	mute := f.write("mute.efi", string(osFile(t, "ID=mycelium\nVERSION_ID=0.3.0\n")))
	for _, tc := range []struct {
		line string
		want []string
	}{
		{good + flags, []string{"it is a qemu-amd64, the file is for a qemu-arm64"}},
		{mute + flags, []string{"does not say for which board", "--board"}},
		{f.write("debian.efi", string(osFile(t, "ID=debian\nVERSION_ID=13\n"))) + flags, []string{`ID="debian"`}},
		{f.write("half.efi", string(osFile(t, image.OSRelease("0.3", "qemu-amd64")))) + flags, []string{`version "0.3"`, "1.2.3"}},
		{f.write("text", "hello") + flags, []string{"it is no OS file"}},
		{filepath.Join(f.dir, "none") + flags, []string{"no such file"}},
		{good, []string{`"key" not set`}},
		{good + " --key " + filepath.Join(f.dir, "dev.age") + " --identity " + f.identity, []string{"has 2 nodes", "-n node-1,node-2"}},
	} {
		f.refused("", "update push "+tc.line, tc.want...)
	}
	if did := f.events.take(); len(did) > 0 {
		t.Errorf("the nodes did %q", did)
	}
	f.run("update push " + mute + " --board qemu-amd64" + flags)
	// A key that the node's configuration does not name.
	f.nodes[0].slots.developer = identity.GenerateKey().Public()
	f.refused("", "update push "+mute+" --board qemu-amd64"+flags, "is no developer's key here")
	huge, err := os.Create(filepath.Join(f.dir, "disk.img"))
	if err == nil {
		err = huge.Truncate(api.MaxOSFile + 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	huge.Close()
	f.refused("", "update push "+huge.Name()+flags, "a slot holds 500", "whole disk")
}

func TestVerdictOn(t *testing.T) {
	status := func(boot string, slots ...api.Slot) *api.Status {
		return &api.Status{BootID: boot, Update: &api.Update{Slots: slots, Trial: &api.UpdateTrial{Waiting: []string{"x"}}}}
	}
	other := api.Slot{Digest: "o", Version: "1.0.0", Phase: "good", Running: true}
	slot := func(phase string, running bool) api.Slot {
		return api.Slot{Digest: "d", Version: "1.1.0", Phase: phase, Running: running, Reason: "why"}
	}
	for name, tc := range map[string]struct {
		s     *api.Status
		words string
		good  bool
		err   string
	}{
		"boots":           {&api.Status{BootID: "2"}, "boots", false, ""},
		"asked":           {status("1", other, slot("trial", false)), "reboots into it", false, ""},
		"not yet":         {status("1", other, slot("staged", false)), "reboots into it", false, ""},
		"on trial":        {status("2", slot("trial", true)), "1.1.0 is on trial, still waits for x", false, ""},
		"between tries":   {status("2", other, slot("trial", false)), "reboots into it", false, ""},
		"good":            {status("2", slot("good", true)), "1.1.0 is good", true, ""},
		"the same before": {status("1", slot("good", true)), "reboots into it", false, ""},
		"bad":             {status("2", other, slot("bad", false)), "1.1.0 was taken back", false, "it has rolled back: why"},
		"put off":         {status("2", other, slot("staged", false)), "put off", false, "put off: why"},
		"overwritten":     {status("2", other), "gone", false, "somebody else"},
	} {
		words, isGood, err := verdictOn("d", "1", tc.s)
		if words != tc.words || isGood != tc.good || (err == nil) != (tc.err == "") || !strings.Contains(fmt.Sprint(err), tc.err) {
			t.Errorf("%s: %q, %v, %v", name, words, isGood, err)
		}
	}
}
