package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/clock"
	"github.com/digital-mycelium/os/cmd/init/internal/logs"
	"github.com/digital-mycelium/os/cmd/init/internal/membership"
	"github.com/digital-mycelium/os/cmd/init/internal/phase"
	"github.com/digital-mycelium/os/cmd/init/internal/source"
	"github.com/digital-mycelium/os/cmd/init/internal/status"
	"github.com/digital-mycelium/os/cmd/init/internal/updates"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/supervise"
)

// machine is the node while it runs. The phases of the boot fill it in, one
// after the other; what runs in the background afterwards only reads it, apart
// from the parts that guard themselves.
type machine struct {
	version   string
	buildTime time.Time
	cmdline   cmdline
	console   *console
	logs      *logs.Set
	log       *slog.Logger
	board     *status.Board
	procs     *procs
	heart     *heart
	watchdog  *watchdog
	net       *network
	time      *timekeeper
	member    *membership.Membership // nil when it could not be opened
	pods      *pods
	updates   *updates.Agent // nil when the machine cannot be updated in place
	// rebootArgument is what the firmware is to be told by a reboot; nil for nothing.
	rebootArgument func() string

	ownWorkloads workloadSource

	// conf is what the node runs with. The others say why; taking guards them
	// once services run.
	conf     atomic.Pointer[config.Config]
	taking   sync.Mutex
	sources  []source.Candidate // the places that had, or have, a document at this boot
	set      *source.Set        // what the API set, nil for nothing
	choice   source.Choice      // the document that counts; some of it may wait for a reboot
	askOn    func()             // asks the command line's URL once services run, nil when nothing has to be asked
	endFetch context.CancelFunc // ends that
	// fetchedPath keeps what the URL gave for the next boot.
	fetchedPath string

	disk      *bootDisk
	live      *liveSystem // nil when the system runs from its disk
	installs  installs
	menuOpen  atomic.Bool // somebody is in the console's menu
	volumes   []mountedVolume
	reserve   *reserve
	disks     []api.Disk // what measure read of all disks, and when
	disksRead time.Time
	machineID string
	hostname  string
	// blockers are the reasons why Kubernetes must not start in this boot.
	blockers []string

	requests chan action

	failing atomic.Bool // a fatal failure is being shown

	mu       sync.Mutex
	services []*supervise.Service
	// memberProblems are the membership's among the board's problems.
	memberProblems map[string]string
	stop           []func() // ends the services, last started first
}

func newMachine(version string, built time.Time) *machine {
	set := logs.NewSet()
	hostinfo := unameInfo()
	m := &machine{
		version: version, buildTime: built, logs: set,
		log:      slog.New(slog.NewTextHandler(set.Get("init"), nil)),
		cmdline:  parseCmdline(""),
		console:  newConsole(),
		board:    status.New(api.Status{Version: version, Arch: runtime.GOARCH, Kernel: hostinfo, Problems: []string{}}),
		procs:    newProcs(),
		heart:    newHeart(),
		requests: make(chan action, 4),
		choice:   source.Choice{Config: config.Default()},
		endFetch: func() {},

		fetchedPath: fetchedPath,
	}
	m.conf.Store(m.choice.Config)
	m.net = newNetwork(m)
	m.pods = newPods()
	m.time = &timekeeper{m: m, again: make(chan struct{}, 1), bounds: clock.NewBounds(built, time.Time{})}
	return m
}

// config is what the node runs with; it is not changed, only replaced.
func (m *machine) config() *config.Config { return m.conf.Load() }

// spawn runs f in the background. A panic in it is fatal for the machine, as a
// panic anywhere in PID 1 is, but is shown and followed by an orderly reboot.
func (m *machine) spawn(f func()) {
	go func() {
		defer func() {
			if v := recover(); v != nil {
				m.fatal(&phase.PanicError{Value: v, Stack: debug.Stack()})
			}
		}()
		f()
	}()
}

// request asks the main loop to shut down or reboot; a second request is
// dropped while the first is carried out.
func (m *machine) request(a action) {
	select {
	case m.requests <- a:
	default:
	}
}

// block keeps Kubernetes off in this boot.
func (m *machine) block(reason string) { m.blockers = append(m.blockers, reason) }

// uptime is the time since the kernel started, the clock of every "at" and
// "start" in the status.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func unameInfo() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// parseBuildTime reads the linker's seconds since 1970. Without them the moment
// this was written serves: any floor is better than 1970.
func parseBuildTime(s string) time.Time {
	if n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64); err == nil && n > 0 {
		return time.Unix(n, 0)
	}
	return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
}

// readLine returns the file's content without white space around it, "" when
// it cannot be read.
func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}

// sleep waits for d; false means that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
