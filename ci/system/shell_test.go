package system

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/image"
)

// shell runs the operator's command line in a home of its own.
type shell struct {
	t       *testing.T
	program string
	home    string
}

func newShell(t *testing.T, suite *lab.Suite) *shell {
	t.Helper()
	s := &shell{t: t, program: filepath.Join(t.TempDir(), "mycelium"), home: t.TempDir()}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", s.program, "./cmd/mycelium")
	build.Dir = suite.Root
	out, err := build.CombinedOutput()
	must(t, "build: "+string(out), err)
	return s
}

// flashed returns the suite of another board, whose machines start with its image as
// `mycelium flash` writes it.
func flashed(t *testing.T, suite *lab.Suite, board string) *lab.Suite {
	t.Helper()
	on, err := suite.On(board)
	must(t, "image", err)
	built, dir := on.Image, t.TempDir()
	on.Image = filepath.Join(dir, image.DiskImage)
	newShell(t, suite).run("flash", "--yes", built, on.Image)
	must(t, "OS file", os.Symlink(filepath.Join(filepath.Dir(built), image.OSFile), filepath.Join(dir, image.OSFile)))
	return on
}

// networks is where the command line keeps the operator's networks.
func (s *shell) networks() string { return filepath.Join(s.home, "mycelium", "networks") }

func (s *shell) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Env = append(os.Environ(), "HOME="+s.home, "XDG_STATE_HOME="+s.home, "XDG_CACHE_HOME="+s.home, "XDG_DATA_HOME="+s.home, "XDG_CONFIG_HOME="+s.home)
	return cmd
}

// try runs a command and returns what it printed.
func (s *shell) try(args ...string) (string, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Minute)
	defer cancel()
	out, err := s.command(ctx, args...).CombinedOutput()
	s.t.Logf("mycelium %s\n%s", strings.Join(args, " "), out)
	return string(out), err
}

// run is try for commands that must succeed.
func (s *shell) run(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	must(s.t, "mycelium "+strings.Join(args, " "), err)
	return out
}
