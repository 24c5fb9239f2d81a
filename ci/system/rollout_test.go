package system

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/qemu"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

// rollout: a server and two agents are updated by one command. They fetch little more
// than one copy of what differs from the release server together, go down one by one,
// and all run the new version in the end.
func rollout(t *testing.T, suite *lab.Suite) {
	newer, err := suite.Newer(t.Context(), "1.1.0")
	must(t, "build a newer version", err)
	releases := lab.NewReleaseServer(t)
	must(t, "publish", releases.Publish(t.Context(), newer))
	s := newShell(t, suite)
	s.run("network", "create", "home", "--operator", "ann", "--recipient", recipient)
	c := config.Default()
	c.Update = config.Update{Server: releases.URL, Root: releases.Root}
	machines := suite.Machines(t, lab.MachineSpec{
		Name: "rollout", Nodes: 3, Identity: qemu.Identity{Dir: s.networks(), Network: "home"}, Config: c,
	})
	must(t, "start three nodes", lab.BootAll(t.Context(), machines))
	must(t, "deploy", deploySpread(t.Context(), machines))
	for _, m := range machines {
		must(t, "answers", answers(t.Context(), m, 3))
	}
	releases.Sent()
	begun := time.Now()
	s.run("update", "apply", "--version", newer.Version)
	sent, one := releases.Sent(), oneCopy(t, suite, newer)
	suite.Times.Note(t, "three nodes in %.0f s, %d bytes from the server: %.2f copies of what differs", time.Since(begun).Seconds(), sent, float64(sent)/float64(one))
	if float64(sent) > 1.2*float64(one) {
		t.Errorf("three nodes fetched %d bytes from the server, one needs %d", sent, one)
	}
	for _, m := range machines {
		status, err := m.WaitReady(t.Context())
		must(t, "status", err)
		if status.Version != newer.Version || lastVerdict(status).Phase != "good" {
			t.Errorf("%s runs %s, verdict %+v", m.Name(), status.Version, lastVerdict(status))
		}
		must(t, "answers", answers(t.Context(), m, 3))
	}
	s.run("update", "status")
	s.run("update", "apply", "--version", newer.Version) // nothing is left to do
}

// oneCopy is how many bytes a node alone fetches to come from the OS file under test to
// another one: the chunks that differ, the index and the metadata.
func oneCopy(t *testing.T, suite *lab.Suite, f lab.OSFile) int64 {
	t.Helper()
	file, err := os.Open(f.Path)
	must(t, "OS file", err)
	defer file.Close()
	index, err := delta.Make(file)
	must(t, "index", err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, f.Path) }))
	defer server.Close()
	var received int64
	got, err := delta.Fetch(t.Context(), delta.Config{
		Index: index, Dir: t.TempDir(), Server: delta.HTTPSource(server.Client(), server.URL),
		Local: []delta.Local{{Name: "old", Open: func() (io.ReadCloser, error) {
			return os.Open(filepath.Join(filepath.Dir(suite.Image), "os.efi"))
		}}},
		Progress: func(p delta.Progress) { received = p.Received },
	})
	must(t, "fetch", err)
	must(t, "remove", got.Remove())
	if received == 0 {
		t.Fatal(fmt.Errorf("%s does not differ from the OS file under test", f.Path))
	}
	const metadata = 64 << 10 // less than the index and the metadata of one node
	return received + metadata
}
