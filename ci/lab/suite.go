package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/digital-mycelium/os/board"
)

// Environment variables that say where the built things are.
const (
	// EnvImage is the disk image to boot; out/qemu-amd64/disk.img when unset.
	EnvImage = "MYCELIUM_IMAGE"
	// EnvDemo is the demo workload's image archive; out/hello.tar when unset.
	EnvDemo = "MYCELIUM_DEMO"
	// EnvKeep, when not empty, keeps machines that a passed or failed test leaves
	// running: stopped in their tracks, and taken up again by the next run that
	// asks for a machine of that name. For working on tests.
	EnvKeep = "MYCELIUM_TEST_KEEP"
	// EnvOut is the folder for what failed tests leave; out/test when unset.
	EnvOut = "MYCELIUM_TEST_OUT"
)

// Suite is the surroundings of one test binary: the repository, the image
// under test, and where records go. Its methods are safe for concurrent use.
type Suite struct {
	// Slower is how many times longer than usual machines may take; 0 means 1.
	Slower int
	// Root is the repository's folder.
	Root string
	// Image is the disk image under test, Board the board that it is for.
	Image, Board string
	// Demo is the image archive of the demo workload.
	Demo string
	// Out is where failed tests leave their records.
	Out string

	// Keep is set by EnvKeep.
	Keep bool
	// Times collects how long the tests took.
	Times *Times

	bootTime atomic.Int64 // of the last boot, nanoseconds

	kubectl func() (string, error)
	probe   func() (string, error)
}

// NewSuite finds the repository and the image. The error says what to build.
func NewSuite() (*Suite, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	s := &Suite{
		Root:  root,
		Board: "qemu-amd64",
		Times: new(Times),
		Image: fromEnv(EnvImage, filepath.Join(root, "out/qemu-amd64/disk.img")),
		Demo:  fromEnv(EnvDemo, filepath.Join(root, "out/hello.tar")),
		Out:   fromEnv(EnvOut, filepath.Join(root, "out/test")),
		Keep:  os.Getenv(EnvKeep) != "",
	}
	for name, hint := range map[string]string{
		s.Image: "make image BOARD=qemu-amd64, or set " + EnvImage,
		s.Demo:  "make demo-image, or set " + EnvDemo,
	} {
		if _, err := os.Stat(name); err != nil {
			return nil, fmt.Errorf("the system tests need %s: %w; build it with: %s", name, err, hint)
		}
	}
	if err := os.MkdirAll(s.Out, 0o755); err != nil {
		return nil, fmt.Errorf("folder for test records: %w", err)
	}
	s.kubectl = sync.OnceValues(s.buildKubectl)
	s.probe = sync.OnceValues(s.buildProbe)
	return s, nil
}

// foreignSlower is Suite.Slower for the processor of another architecture, which is
// always emulated.
const foreignSlower = 3

// On returns the suite for the image of another board, out/BOARD/disk.img, with the same
// record of times. The error says how to build the image.
func (s *Suite) On(name string) (*Suite, error) {
	on := s.with(filepath.Join(s.Root, "out", name, "disk.img"), name)
	b, err := board.Load(name)
	if err != nil {
		return nil, err
	}
	if b.Arch != runtime.GOARCH {
		on.Slower = foreignSlower
	}
	if _, err := os.Stat(on.Image); err != nil {
		return nil, fmt.Errorf("the tests of board %s need its image: %w; build it with: make image BOARD=%s", name, err, name)
	}
	return on, nil
}

// with is the suite for another image.
func (s *Suite) with(image, board string) *Suite {
	return &Suite{
		Root: s.Root, Image: image, Board: board, Demo: s.Demo, Out: s.Out,
		Keep: s.Keep, Times: s.Times, kubectl: s.kubectl, probe: s.probe,
	}
}

// patience is how long something may take that usually takes at most d.
func (s *Suite) patience(d time.Duration) time.Duration { return d * time.Duration(max(s.Slower, 1)) }

// BootTime is how long the last boot took from power-on until the test saw a
// Ready node; zero before the first.
func (s *Suite) BootTime() time.Duration { return time.Duration(s.bootTime.Load()) }

// Kubectl is the path of the stock kubectl, built at first use.
func (s *Suite) Kubectl() (string, error) { return s.kubectl() }

// Probe is the path of the image archive that holds the tests' workload, built
// at first use. Its image is named [ProbeImage].
func (s *Suite) Probe() (string, error) { return s.probe() }

func (s *Suite) buildKubectl() (string, error) {
	return s.build("ci/kubectl", "kubectl", "-X k8s.io/component-base/version.gitVersion=v"+KubernetesVersion)
}

// KubernetesVersion is the version of the stock client; the node's API may be
// a patch release apart.
const KubernetesVersion = "1.35.1"

// build compiles the main package in folder (relative to Root) to a static program.
func (s *Suite) build(folder, name, flags string) (string, error) {
	target := filepath.Join(s.Out, "bin", name)
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath",
		"-ldflags", "-s -w -buildid= "+flags, "-o", target, ".")
	cmd.Dir = filepath.Join(s.Root, folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", folder, err, out)
	}
	return target, nil
}

// findRoot walks up from the working directory to the folder of go.mod.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return "", fmt.Errorf("no go.mod above the working directory: %w", err)
		}
		dir = parent
	}
}

func fromEnv(name, def string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return def
}
