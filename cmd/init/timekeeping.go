package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/beevik/ntp"
	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/clock"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
)

// floorPath keeps the last time that a server was heard, in seconds since 1970.
const floorPath = "/state/clock"

// timekeeper sets the clock and keeps it right.
type timekeeper struct {
	m      *machine
	bounds clock.Bounds
	again  chan struct{} // wakes run: other servers may be named

	mu     sync.Mutex
	synced bool
	saved  time.Time
	last   heard
}

// defaultTimeServers are asked when neither the configuration nor DHCP names any.
func defaultTimeServers() []string {
	return []string{"0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org"}
}

const (
	// bootSyncPatience is how long the boot waits for named servers.
	bootSyncPatience = 5 * time.Second
	ntpTimeout       = 2 * time.Second
	syncInterval     = 17 * time.Minute
	floorInterval    = time.Hour
)

// startClock gives the node a time that certificates can be checked with, from
// the machine's clock, the floor, or the servers that are named, before any
// service starts.
func (m *machine) startClock(ctx context.Context) error {
	t := m.time
	kept, err := readFloor(floorPath)
	if err != nil {
		m.log.Warn("clock floor", "error", err)
	}
	t.bounds = clock.NewBounds(m.buildTime, kept)
	now, source := t.bounds.Initial(time.Now())
	if source == clock.Floor {
		m.log.Warn("the machine's clock is implausible", "it_says", time.Now().UTC(), "set_to", now.UTC())
		if err := setClock(now); err != nil {
			return err
		}
	}
	t.setSource(source)
	servers := t.named()
	if addr, _ := m.net.nodeAddress(); addr.IsValid() && len(servers) > 0 {
		if err := t.sync(ctx, servers, bootSyncPatience); err != nil {
			m.log.Warn("no time server answered in time: going on", "error", err)
		}
	}
	m.spawn(func() { t.run(ctx) })
	return nil
}

func (t *timekeeper) setSource(source string) {
	t.m.board.Update(func(s *api.Status) { s.Time.Source = source })
}

// named returns the servers of the configuration, else those of DHCP.
func (t *timekeeper) named() []string {
	if s := t.m.config().Time.Servers; len(s) > 0 {
		return s
	}
	return t.m.net.timeServers()
}

// servers returns whom to ask.
func (t *timekeeper) servers() []string {
	if s := t.named(); len(s) > 0 {
		return s
	}
	return defaultTimeServers()
}

// run synchronises again and again until ctx ends.
func (t *timekeeper) run(ctx context.Context) {
	delay := 5 * time.Second
	for {
		wait := syncInterval
		if _, err := t.m.net.waitAddress(ctx, 0); err != nil {
			return
		}
		if err := t.sync(ctx, t.servers(), 3*ntpTimeout); err != nil {
			t.m.log.Info("clock not synchronised", "error", err)
			wait = delay
			delay = min(2*delay, t.retryLimit())
		} else {
			delay = 5 * time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-t.again:
			delay = 5 * time.Second
		case <-time.After(wait):
		}
	}
}

// hurry asks the servers now, because others may be named.
func (t *timekeeper) hurry() {
	select {
	case t.again <- struct{}{}:
	default:
	}
}

// retryLimit is the longest pause between attempts: short while somebody has
// named servers that may come up any moment, longer for those of the world.
func (t *timekeeper) retryLimit() time.Duration {
	if len(t.named()) > 0 {
		return 30 * time.Second
	}
	return syncInterval
}

// answer is one server's.
type answer struct {
	server string
	offset time.Duration
	err    error
}

// sync asks all servers at once and follows the first believable answer.
func (t *timekeeper) sync(ctx context.Context, servers []string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answers := make(chan answer, len(servers))
	for _, s := range servers {
		t.m.spawn(func() { answers <- t.ask(s) })
	}
	var errs []error
	for range servers {
		select {
		case <-ctx.Done():
			return errors.Join(append(errs, ctx.Err())...)
		case a := <-answers:
			if a.err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", a.server, a.err))
				continue
			}
			return t.follow(a)
		}
	}
	return errors.Join(errs...)
}

// ask asks one server, given as host or host:port.
func (t *timekeeper) ask(server string) answer {
	r, err := ntp.QueryWithOptions(server, ntp.QueryOptions{Timeout: ntpTimeout})
	if err == nil {
		err = r.Validate()
	}
	if err == nil {
		err = t.bounds.Check(time.Now().Add(r.ClockOffset))
	}
	if err != nil {
		return answer{server: server, err: err}
	}
	return answer{server: server, offset: r.ClockOffset}
}

// follow adjusts the clock by a server's answer.
func (t *timekeeper) follow(a answer) error {
	action := clock.Adjust(a.offset)
	t.m.log.Info("time server answered", "server", a.server, "offset", a.offset, "action", action)
	if action == clock.Slew {
		if err := slewClock(a.offset); err != nil {
			return err
		}
	} else if err := setClock(time.Now().Add(a.offset)); err != nil {
		return err
	}
	if err := writeRTC(time.Now()); err != nil {
		t.m.log.Info("the machine's own clock is not set", "error", err)
	}
	t.mu.Lock()
	first := !t.synced
	t.synced = true
	t.last = heard{server: a.server, offset: a.offset, at: time.Now()}
	due := first || time.Since(t.saved).Abs() >= floorInterval
	t.mu.Unlock()
	if first {
		t.setSource(clock.NTP)
	}
	if due {
		t.saveFloor()
	}
	if action == clock.StepAndRestart {
		t.m.restartServices(fmt.Sprintf("the clock was set by %s", a.offset.Round(time.Second)))
	}
	return nil
}

// raise sets the clock to a time that is proven to have come, because somebody
// trusted has signed it.
func (t *timekeeper) raise(now time.Time) {
	says := time.Now()
	if now.Sub(says) <= identity.Skew {
		return
	}
	t.m.log.Warn("the machine's clock is behind what is signed", "it_says", says.UTC(), "set_to", now.UTC())
	if err := setClock(now); err != nil {
		t.m.log.Error("the clock stays behind what is signed", "error", err)
		return
	}
	t.setSource(clock.Floor)
}

// believed returns what the machine's clock shows, the zero time when that is
// only the earliest time that it can be.
func (t *timekeeper) believed() time.Time {
	if s, _ := t.m.board.Get(); s.Time.Source == clock.Floor {
		return time.Time{}
	}
	return time.Now()
}

// saveFloor keeps the time as the next boot's floor, if a server gave it.
func (t *timekeeper) saveFloor() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.synced {
		return
	}
	now := time.Now()
	if err := durable.WriteFile(floorPath, []byte(strconv.FormatInt(now.Unix(), 10)+"\n"), 0o644); err != nil {
		t.m.log.Warn("the clock's floor is not kept", "error", err)
		return
	}
	t.saved = now
}

// readFloor returns the kept time, zero when there is none.
func readFloor(path string) (time.Time, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s holds no time: %w", path, err)
	}
	return time.Unix(n, 0), nil
}

func setClock(t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

// adjOffsetSingleshot makes adjtimex(2) slew as adjtime(3) does.
const adjOffsetSingleshot = 0x8001

func slewClock(offset time.Duration) error {
	tx := unix.Timex{Modes: adjOffsetSingleshot, Offset: offset.Microseconds()}
	if _, err := unix.Adjtimex(&tx); err != nil {
		return fmt.Errorf("slew the clock: %w", err)
	}
	return nil
}

// writeRTC sets the machine's battery-backed clock, in UTC.
func writeRTC(t time.Time) error {
	f, err := os.OpenFile("/dev/rtc0", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	t = t.UTC()
	return unix.IoctlSetRTCTime(int(f.Fd()), &unix.RTCTime{
		Sec: int32(t.Second()), Min: int32(t.Minute()), Hour: int32(t.Hour()),
		Mday: int32(t.Day()), Mon: int32(t.Month() - 1), Year: int32(t.Year() - 1900),
	})
}
