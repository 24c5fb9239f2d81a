package initramfs

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func testConfig(t *testing.T) (Config, []byte, []byte) {
	t.Helper()
	dir := t.TempDir()
	program := bytes.Repeat([]byte("\x7fELF program "), 12345)
	root := make([]byte, 300_001)
	for i := range root {
		root[i] = byte(rand.N(256))
	}
	c := Config{Init: filepath.Join(dir, "init"), Root: filepath.Join(dir, "root"), Arch: "amd64"}
	if err := os.WriteFile(c.Init, program, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Root, root, 0o600); err != nil {
		t.Fatal(err)
	}
	return c, program, root
}

// TestBuild takes the result apart as the kernel does, with cpio's own tools.
func TestBuild(t *testing.T) {
	c, program, root := testConfig(t)
	got, err := Build(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got.RootSize != int64(len(root)) {
		t.Errorf("root of %d bytes", got.RootSize)
	}
	first := run(t, got.Data[:got.InitSize], "xz", "--decompress", "--stdout")
	if list := string(run(t, first, "cpio", "--list", "--quiet", "--verbose")); !strings.Contains(list, "crw-------   1 root     root       5,   1") {
		t.Errorf("no /dev/console:\n%s", list)
	}
	if b := run(t, first, "cpio", "--extract", "--to-stdout", "--quiet", "init"); !bytes.Equal(b, program) {
		t.Errorf("/init has %d bytes, want %d", len(b), len(program))
	}
	at := (got.InitSize + 3) / 4 * 4
	if b := run(t, got.Data[at:], "cpio", "--extract", "--to-stdout", "--quiet", "root.img"); !bytes.Equal(b, root) {
		t.Errorf("/root.img has %d bytes, want %d", len(b), len(root))
	}
	again, err := Build(context.Background(), c)
	if err != nil || !bytes.Equal(again.Data, got.Data) {
		t.Errorf("two builds differ (%v)", err)
	}
}

func TestErrors(t *testing.T) {
	c, _, _ := testConfig(t)
	for _, change := range []func(*Config){
		func(c *Config) { c.Init += "-absent" },
		func(c *Config) { c.Root += "-absent" },
	} {
		bad := c
		change(&bad)
		if _, err := Build(context.Background(), bad); err == nil || !strings.Contains(err.Error(), "pack /") {
			t.Errorf("error %v does not name the step", err)
		}
	}
}

func run(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, map[string]string{"xz": "xz-utils", "cpio": "cpio"}[name])
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, msg.Bytes())
	}
	return out.Bytes()
}
