package rootfs

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/image/component"
)

func testComponents(t *testing.T) []component.Component {
	t.Helper()
	dir := t.TempDir()
	random := rand.NewChaCha8([32]byte{1})
	var cs []component.Component
	for _, f := range []struct {
		path string
		size int
	}{{"/bin/k3s", 3<<20 + 17}, {"/bin/rt", 1 << 20}, {"/sbin/e2fsck", 1000}, {"/share/images/pause.tar", 1}} {
		path, data := f.path, make([]byte, f.size)
		if _, err := random.Read(data[:f.size/2]); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		cs = append(cs, component.Component{Name: filepath.Base(path), Path: path, File: file})
	}
	return cs
}

func need(t *testing.T, name, pkg string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	return p
}

func TestPack(t *testing.T) {
	need(t, "mksquashfs", "squashfs-tools")
	tree, err := Assemble(testComponents(t))
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "root.img")
	if err := Pack(context.Background(), tree, "amd64", image); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(need(t, "unsquashfs", "squashfs-tools"), "-lln", image).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"-r-xr-xr-x 0/0 ", "squashfs-root/bin/k3s", "squashfs-root/bin/containerd -> k3s",
		"drwxr-xr-x 0/0                       3 1970-01-01 00:00 squashfs-root/state",
		"squashfs-root/etc/resolv.conf -> /run/resolv.conf",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 4 && (f[1] != "0/0" || f[3] != "1970-01-01" || f[0][0] == '-' && strings.Contains(f[0], "w")) {
			t.Errorf("owner, time or mode: %s", line)
		}
	}
	checkUsage(t, image, tree)
}

// checkUsage expects the files' shares to make up the image but for its metadata.
func checkUsage(t *testing.T, image string, tree *Tree) {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := Usage(f)
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	rest := st.Size()
	for name, n := range got {
		if tree.nodes[clean(name)] == nil {
			t.Errorf("usage of %s, which is not in the tree", name)
		}
		rest -= n
	}
	if rest < 0 || rest > 16384 {
		t.Errorf("%d bytes of %d are nobody's", rest, st.Size())
	}
	if n := got["/bin/k3s"]; n < 3<<19 || n > 2<<20 {
		t.Errorf("/bin/k3s takes %d bytes, half of its 3 MiB are random", n)
	}
}

// TestSameBytes packs one tree twice, with different build times around it.
func TestSameBytes(t *testing.T) {
	need(t, "mksquashfs", "squashfs-tools")
	var images [2][]byte
	for i := range images {
		tree, err := Assemble(testComponents(t))
		if err != nil {
			t.Fatal(err)
		}
		image := filepath.Join(t.TempDir(), "root.img")
		t.Setenv("SOURCE_DATE_EPOCH", []string{"1", "2"}[i])
		if err := Pack(context.Background(), tree, runtime.GOARCH, image); err != nil {
			t.Fatal(err)
		}
		if images[i], err = os.ReadFile(image); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two images of one tree differ")
	}
}

func TestTreeErrors(t *testing.T) {
	tree := NewTree()
	if err := tree.Bytes("/a/b", 0o444, nil); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"twice":        tree.Bytes("/a/b", 0o444, nil),
		"below a file": tree.Bytes("/a/b/c", 0o444, nil),
		"relative":     tree.Bytes("a/c", 0o444, nil),
		"the root":     tree.Link("/", "x"),
		"no source":    tree.File("/x", 0o444, filepath.Join(t.TempDir(), "absent")),
		"a directory":  tree.File("/x", 0o444, t.TempDir()),
		"dir on file":  tree.Dir("/a/b", 0o755),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := tree.Dir("/a", 0o755); err != nil {
		t.Error(err)
	}
}

// TestLinks expects every relative or root-internal link to end at something
// that a component or the layout provides.
func TestLinks(t *testing.T) {
	tree, err := Assemble(testComponents(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		target := l[1]
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(l[0]), target)
		}
		first := strings.Split(clean(target), "/")[0]
		if tree.nodes[clean(target)] == nil && (tree.nodes[first] == nil || !strings.Contains("run proc state", first)) {
			t.Errorf("%s -> %s leads nowhere", l[0], l[1])
		}
	}
}

func TestStaticFiles(t *testing.T) {
	b, err := files.ReadFile("files/share/cni/10-mycelium.conflist")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Name    string
		Plugins []struct{ Type string }
	}
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Plugins {
		found := false
		for _, l := range links {
			found = found || l[0] == "/libexec/cni/"+p.Type
		}
		if !found {
			t.Errorf("plugin %s is not in the root", p.Type)
		}
	}
}

func FuzzUsage(f *testing.F) {
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		f.Fatal("mksquashfs is missing: apt-get install squashfs-tools")
	}
	tree := NewTree()
	if err := tree.Bytes("/etc/hosts", 0o444, []byte("127.0.0.1 localhost\n")); err != nil {
		f.Fatal(err)
	}
	image := filepath.Join(f.TempDir(), "root.img")
	if err := Pack(context.Background(), tree, "amd64", image); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(image)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Usage(bytes.NewReader(data))
		if err == nil {
			for name, n := range got {
				if n < 0 {
					t.Errorf("%s takes %d bytes", name, n)
				}
			}
		}
	})
}
