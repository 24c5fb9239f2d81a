package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/image/uki/ukitest"
)

// run runs a host tool and returns what it prints.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// copySource copies what git knows or would add of the repository at repo to a
// new directory.
func copySource(t *testing.T, repo string) string {
	t.Helper()
	to := t.TempDir()
	for name := range strings.SplitSeq(run(t, repo, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		data, err := os.ReadFile(filepath.Join(repo, name))
		if err != nil {
			continue // a submodule, or deleted in the work tree
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// fakePart writes a component's file of size bytes that follow from its name.
func fakePart(t *testing.T, name, path string, size int) component.Component {
	t.Helper()
	data := make([]byte, size)
	if _, err := rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(data[:size/2]); err != nil {
		t.Fatal(err)
	}
	return filePart(t, name, path, data)
}

func filePart(t *testing.T, name, path string, data []byte) component.Component {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return component.Component{
		Name: name, Version: "1", Source: "pkg:generic/" + name + "@1", License: "Apache-2.0", Path: path, File: file,
	}
}

// buildOnce builds from the source in the given directory with an empty build cache. What takes minutes (kernel, K3s) is stood in for; init,
// the pause image, the root, the initramfs, the OS file, the disk image and the
// bill of materials are real.
func buildOnce(t *testing.T, source string) (out string, res *Result) {
	t.Helper()
	t.Setenv("MYCELIUM_CACHE", t.TempDir())
	bd, err := board.Load("qemu-amd64")
	if err != nil {
		t.Fatal(err)
	}
	for i := range bd.Disk.Partitions {
		bd.Disk.Partitions[i].SizeMiB = 40
	}
	var log bytes.Buffer
	b := &builder{
		repo: source, out: t.TempDir(), work: t.TempDir(), board: bd,
		version: Version{Name: "1.2.3", Time: time.Unix(1_700_000_000, 0)}, compressed: true,
		log: newProgress(&log, time.Now),
	}
	p := &parts{
		kernel: fakePart(t, "linux", "kernel", 1<<20),
		stub:   filePart(t, "stub", "stub", ukitest.Stub(5)),
		loader: fakePart(t, "loader", bd.Firmware.EFI.Loader.Install, 1000),
		root:   []component.Component{fakePart(t, "k3s", "/bin/k3s", 3<<20), fakePart(t, "rt", "/bin/rt", 1<<20)},
	}
	ctx := context.Background()
	if p.init, err = b.buildInit(ctx); err != nil {
		t.Fatal(err)
	}
	pauseImage, err := b.buildPause(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.root = append(p.root, pauseImage)
	for _, c := range append(pointers(p.root), &p.kernel, &p.stub, &p.loader, &p.init) {
		*c = measured(t, *c)
	}
	if said, err := b.bootFiles(p); err != nil || said != "4 files" {
		t.Fatalf("%s, %v", said, err)
	}
	if said, err := b.stripLines(p); err != nil || strings.HasPrefix(said, "0.00") {
		t.Fatalf("%s, %v", said, err)
	}
	if res, err = b.assemble(ctx, p); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	return b.out, res
}

func measured(t *testing.T, c component.Component) component.Component {
	t.Helper()
	cs := []component.Component{c}
	if _, err := measure(cs); err != nil {
		t.Fatal(err)
	}
	return cs[0]
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestReproducible builds twice, from different directories and without the
// build cache, and compares every byte of every file.
func TestReproducible(t *testing.T) {
	repo, err := RepoRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	source := copySource(t, repo)
	first, res := buildOnce(t, source)
	run(t, source, "git", "init", "-q") // so that it can be copied, too
	second, _ := buildOnce(t, copySource(t, source))
	for _, name := range []string{OSFile, DiskImage, Manifest, Compressed, BlockMap, Checksums} {
		if !bytes.Equal(read(t, first, name), read(t, second, name)) {
			t.Errorf("%s differs between two builds", name)
		}
	}
	left, err := os.ReadDir(first)
	if err != nil || len(left) != 6 {
		t.Errorf("output directory holds %v (%v)", left, err)
	}
	data := read(t, first, OSFile)
	f, err := uki.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if cmd, err := f.ReadSection(".cmdline"); err != nil || !strings.HasSuffix(string(cmd), " mycelium.board=qemu-amd64") {
		t.Errorf("command line %q, %v", cmd, err)
	}
	if int64(len(data)) != res.Size {
		t.Errorf("result says %d bytes, the file has %d", res.Size, len(data))
	}
	checkCompressed(t, first)
	checkSizes(t, first, res.Size)
}

// checkSizes expects the table's rows to add up to the file.
func checkSizes(t *testing.T, dir string, size int64) {
	t.Helper()
	var table bytes.Buffer
	if err := WriteSizes(&table, filepath.Join(dir, OSFile)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"k3s", "init", "pause", "metadata, padding", "100.0", "34.00 MiB", "40.00 MiB"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
	if strings.Contains(table.String(), " -") {
		t.Errorf("a negative share in\n%s", &table)
	}
	if err := os.WriteFile(filepath.Join(dir, OSFile), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteSizes(&table, filepath.Join(dir, OSFile)); err == nil || !strings.Contains(err.Error(), "not the OS file") {
		t.Errorf("another OS file than the manifest's: %v", err)
	}
}

func TestSourceVersion(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "")
	dir, ctx := t.TempDir(), context.Background()
	if _, err := SourceVersion(ctx, dir); err == nil {
		t.Error("version of what is no checkout")
	}
	for _, v := range []string{"GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"} {
		t.Setenv(v, "2026-11-21T01:02:03Z")
	}
	for _, v := range []string{"GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"} {
		t.Setenv(v, "test")
	}
	run(t, dir, "git", "init", "-q")
	run(t, dir, "git", "commit", "-q", "--allow-empty", "-m", "first")
	hash := strings.TrimSpace(run(t, dir, "git", "rev-parse", "HEAD"))
	want := func(name string, seconds int64) {
		t.Helper()
		v, err := SourceVersion(ctx, dir)
		if err != nil || v.Name != name || v.Time.Unix() != seconds {
			t.Errorf("%+v, %v; want %s", v, err, name)
		}
	}
	commit := "0.0.0-20261121010203-" + hash[:12]
	want(commit, 1795222923)
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(commit+"+dirty", 1795222923)
	run(t, dir, "git", "tag", "v1.2.3")
	want("1.2.3+dirty", 1795222923)
	t.Setenv("SOURCE_DATE_EPOCH", "7")
	want("1.2.3+dirty", 7)
	t.Setenv("SOURCE_DATE_EPOCH", "now")
	if _, err := SourceVersion(ctx, dir); err == nil {
		t.Error("SOURCE_DATE_EPOCH=now accepted")
	}
}

func TestRepoRoot(t *testing.T) {
	root, err := RepoRoot(".")
	if err != nil || filepath.Base(mustAbs(t, ".")) != "image" || root != filepath.Dir(mustAbs(t, ".")) {
		t.Errorf("%s, %v", root, err)
	}
	if _, err := RepoRoot(t.TempDir()); err == nil {
		t.Error("found a repository where none is")
	}
}

func mustAbs(t *testing.T, p string) string {
	t.Helper()
	abs, err := filepath.Abs(p)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func TestKernelRelease(t *testing.T) {
	image := make([]byte, 0x400)
	copy(image[0x202:], "HdrS")
	image[0x20e] = 0x80 // 0x280
	copy(image[0x280:], "6.12.107 (mycelium@mycelium) #1 SMP\x00")
	for _, tt := range []struct {
		name    string
		image   []byte
		version string
		want    string
	}{
		{"x86", image, "6.12.999-1", "6.12.107"},
		{"other", []byte("MZ arm64"), "6.12.107-1", "6.12.107"},
		{"cut off", image[:0x220], "6.12.107-1", "6.12.107"},
	} {
		if got := kernelRelease(tt.image, tt.version); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestToolVersions(t *testing.T) {
	tools, err := toolVersions(context.Background())
	if err != nil || len(tools) != 4 {
		t.Fatalf("%v, %v", tools, err)
	}
	for _, v := range tools {
		if !regexp.MustCompile(`^[a-z]+-[0-9]+\.[0-9.]+[^()]*$`).MatchString(v) {
			t.Errorf("version %q", v)
		}
	}
	if _, err := toolVersion(context.Background(), "no-such-tool", "--version"); err == nil {
		t.Error("version of an absent tool")
	}
}

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	at := time.Unix(0, 0)
	p := newProgress(&b, func() time.Time { at = at.Add(time.Second); return at })
	if err := p.step("kernel", func() (string, error) { return "linux 6.12", nil }); err != nil {
		t.Error(err)
	}
	boom := errors.New("boom")
	if err := p.step("k3s", func() (string, error) { return "", boom }); !errors.Is(err, boom) || err.Error() != "k3s: boom" {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{"    2.0 s  kernel         ...", "linux 6.12 (2.0 s)", "failed after 2.0 s"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}
