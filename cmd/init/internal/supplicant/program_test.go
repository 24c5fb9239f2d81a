package supplicant

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/rootfs/wpasupplicant"
)

// TestProgramReads lets the program itself read what Render writes. It ends because
// there is no such interface; what it says of the configuration it says before.
func TestProgramReads(t *testing.T) {
	program, err := wpasupplicant.Build(t.Context(), "../../../..", runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	w := config.WiFi{Country: "DE", Networks: []config.WiFiNetwork{
		{SSID: "a\"\n}\nnetwork={\n#\x00", Password: `"#; \ 'xyz`, Hidden: true},
		{SSID: "open"},
		{SSID: "key", Password: config.Secret(strings.Repeat("0aF9", 16))},
	}}
	document, err := Render(w, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text string
		wrong      bool
	}{{"right", string(document), false}, {"wrong", strings.Replace(string(document), "ssid=", "ssid=x", 1), true}} {
		path := filepath.Join(t.TempDir(), "conf")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, err := exec.CommandContext(ctx, program.File, "-i", "nosuchinterface", "-D", "nl80211", "-c", path).CombinedOutput()
		cancel()
		if err == nil || strings.Contains(string(out), "Line ") != tt.wrong || !strings.Contains(string(out), "Successfully initialized") {
			t.Errorf("%s: %v\n%s", tt.name, err, out)
		}
		if strings.Contains(string(out), w.Networks[0].Password.Reveal()) {
			t.Errorf("%s: the password is in\n%s", tt.name, out)
		}
	}
}
