package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/disk"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// partitionFile makes an ext4 file system in a file, with text in the middle of it.
func partitionFile(t *testing.T, path, text string) {
	t.Helper()
	writeTree(t, filepath.Dir(path), map[string]string{filepath.Base(path): ""})
	if err := os.Truncate(path, 9<<20); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "mke2fs", "-q", "-t", "ext4", "-b", "1024", "-F", path)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s (apt-get install e2fsprogs)", err, out)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), 5<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func findingOf(t *testing.T, path string) disk.Finding {
	t.Helper()
	f, err := openBlockDevice(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := disk.Inspect(f, f.size)
	if err != nil {
		t.Fatal(err)
	}
	return in.Finding
}

func TestWipePartition(t *testing.T) {
	m := newMachine("test", time.Now())
	for _, typ := range []gpt.GUID{gpt.State, gpt.Data} {
		path := filepath.Join(t.TempDir(), "partition")
		partitionFile(t, path, "a secret of the node")
		if err := m.wipePartition(path, typ); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) != 9<<20 || findingOf(t, path) != disk.Unfinished {
			t.Errorf("%v: %d bytes, %v, %v", typ, len(b), findingOf(t, path), err)
		}
		if typ == gpt.State && bytes.Contains(b, []byte("a secret")) {
			t.Error("the secret is still on STATE")
		}
	}
	if err := m.wipePartition(filepath.Join(t.TempDir(), "none"), gpt.Data); err == nil {
		t.Error("a partition that is not there was wiped")
	}
}

var errCut = errors.New("power cut")

// TestResetPowerCuts cuts the power before and after each step of a reset, boots
// again and expects the reset to be whole.
func TestResetPowerCuts(t *testing.T) {
	for _, scope := range []api.ResetScope{api.ResetData, api.ResetAll} {
		for cut := range 7 {
			dir := t.TempDir()
			data, state, mounted := filepath.Join(dir, "data"), filepath.Join(dir, "state"), filepath.Join(dir, "mounted")
			order, kubernetes := filepath.Join(mounted, "reset"), filepath.Join(mounted, "rancher")
			partitionFile(t, data, "secret of DATA")
			partitionFile(t, state, "secret of STATE")
			writeTree(t, mounted, map[string]string{"rancher/k3s.yaml": "key", "machine-id": "id"})
			if err := writeResetOrder(order, resetOrder{Scope: scope}); err != nil {
				t.Fatal(err)
			}
			m := newMachine("test", time.Now())
			left := cut
			step := func(f func() error) func() error {
				return func() error {
					if left--; left < 0 {
						return errCut
					}
					err := f()
					if left--; left < 0 {
						return errCut
					}
					return err
				}
			}
			// boot does what mountState and mountData do.
			boot := func() error {
				if findingOf(t, state) == disk.HalfWiped {
					return m.wipePartition(state, gpt.State)
				}
				if findingOf(t, state) == disk.Unfinished {
					return nil
				}
				o, err := readResetOrder(order)
				if o == nil {
					return err
				}
				return resetSteps{
					wipeData:   step(func() error { return m.wipePartition(data, gpt.Data) }),
					forget:     step(func() error { return forgetData(kubernetes, order) }),
					closeState: step(func() error { return nil }),
					wipeState:  step(func() error { return m.wipePartition(state, gpt.State) }),
				}.run(o.Scope)
			}
			err := boot()
			if err != nil && !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			left = 100
			if err := boot(); err != nil {
				t.Fatalf("%s, cut at %d: %v", scope, cut, err)
			}
			_, orderErr := os.Stat(order)
			_, kubeErr := os.Stat(kubernetes)
			_, idErr := os.Stat(filepath.Join(mounted, "machine-id"))
			wiped := findingOf(t, state) == disk.Unfinished
			switch {
			case findingOf(t, data) != disk.Unfinished:
				t.Errorf("%s, cut at %d: DATA is %v", scope, cut, findingOf(t, data))
			case scope == api.ResetAll && !wiped:
				t.Errorf("%s, cut at %d: STATE is %v", scope, cut, findingOf(t, state))
			case scope == api.ResetData && (wiped || idErr != nil || !errors.Is(orderErr, fs.ErrNotExist) || !errors.Is(kubeErr, fs.ErrNotExist)):
				t.Errorf("%s, cut at %d: STATE wiped: %v; id %v, order %v, kubernetes %v", scope, cut, wiped, idErr, orderErr, kubeErr)
			}
		}
	}
}

func TestOrderReset(t *testing.T) {
	m := newMachine("test", time.Now())
	path := filepath.Join(t.TempDir(), "reset")
	if err := m.orderReset(path, api.ResetAll, true); err == nil {
		t.Error("ordered without STATE")
	}
	m.volumes = []mountedVolume{{Volume: api.Volume{Label: "STATE", State: "mounted"}}}
	if err := m.orderReset(filepath.Join(path, "read-only"), api.ResetAll, true); err == nil {
		t.Error("ordered although the order could not be written")
	}
	if len(m.requests) != 0 {
		t.Fatal("a reboot although nothing was ordered")
	}
	for _, powerOff := range []bool{false, true} {
		if err := m.orderReset(path, api.ResetData, powerOff); err != nil {
			t.Fatal(err)
		}
		if a := <-m.requests; a != actionReboot { // the wipe comes first, in any case
			t.Errorf("asked for %v", a)
		}
		if o, err := readResetOrder(path); err != nil || *o != (resetOrder{Scope: api.ResetData, PowerOff: powerOff}) {
			t.Errorf("%+v, %v", o, err)
		}
	}
}

func TestReadResetOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reset")
	if o, err := readResetOrder(path); o != nil || err != nil {
		t.Errorf("without a file: %+v, %v", o, err)
	}
	want := resetOrder{Scope: api.ResetAll, PowerOff: true}
	if err := writeResetOrder(path, want); err != nil {
		t.Fatal(err)
	}
	if o, err := readResetOrder(path); err != nil || *o != want {
		t.Errorf("%+v, %v", o, err)
	}
	for _, content := range []string{"", "all", "{}", `{"scope":"everything"}`, "\x00\x00"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if o, err := readResetOrder(path); o != nil || err == nil {
			t.Errorf("%q: %+v, %v", content, o, err)
		}
	}
}

func TestResettable(t *testing.T) {
	for _, tt := range []struct {
		state string
		scope api.ResetScope
		err   string
	}{
		{"mounted", api.ResetData, ""},
		{"created", api.ResetAll, ""},
		{"missing", api.ResetAll, "nothing to reset"},
		{"", api.ResetData, "nothing to reset"},
		{"corrupt", api.ResetAll, "damaged"},
		{"mounted", "everything", "no scope"},
	} {
		m := newMachine("test", time.Now())
		m.volumes = []mountedVolume{{Volume: api.Volume{Label: "STATE", State: tt.state}}}
		err := m.resettable(tt.scope)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("STATE %s, scope %s: %v, want %q", tt.state, tt.scope, err, tt.err)
		}
	}
}

func TestDropVolume(t *testing.T) {
	m := newMachine("test", time.Now())
	for _, label := range []string{"STATE", "DATA"} {
		m.volumes = append(m.volumes, mountedVolume{Volume: api.Volume{Label: label, State: "mounted"}})
	}
	m.dropVolume("STATE")
	s, _ := m.board.Get()
	if m.volumeState("STATE") != "" || m.volumeState("DATA") != "mounted" || len(s.Volumes) != 1 || s.Volumes[0].Label != "DATA" {
		t.Errorf("%+v, status %+v", m.volumes, s.Volumes)
	}
}
