package supplicant

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pretend answers at path as wpa_supplicant does, with an event before each reply.
func pretend(t *testing.T, path string, replies map[string]string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFromUnix(buf)
			if err != nil {
				return
			}
			command := string(buf[:n])
			for _, message := range []string{"<3>before " + command, replies[command]} {
				if _, err := conn.WriteToUnix([]byte(message), from); err != nil {
					return
				}
			}
		}
	}()
}

func TestControl(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "wlan0")
	if _, err := Dial(path, filepath.Join(dir, "answers")); err == nil || !strings.Contains(err.Error(), "connect to wpa_supplicant") {
		t.Errorf("nobody there: %v", err)
	}
	pretend(t, path, map[string]string{"ATTACH": "OK\n", "STATUS": "wpa_state=SCANNING\n"})
	c, err := Dial(path, filepath.Join(dir, "answers"))
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := c.Ask("STATUS"); err != nil || reply != "wpa_state=SCANNING\n" {
		t.Errorf("%q, %v", reply, err)
	}
	for _, want := range []string{"<3>before ATTACH", "<3>before STATUS"} {
		if event, ok, err := c.Event(t.Context(), time.Minute); event != want || !ok || err != nil {
			t.Errorf("%q, %v, %v", event, ok, err)
		}
	}
	if event, ok, err := c.Event(t.Context(), time.Millisecond); ok || err != nil {
		t.Errorf("an event %q, %v", event, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestControlRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "wlan0")
	pretend(t, path, map[string]string{"ATTACH": "FAIL\n"})
	if _, err := Dial(path, filepath.Join(dir, "answers")); err == nil || !strings.Contains(err.Error(), "FAIL") {
		t.Errorf("%v", err)
	}
}
