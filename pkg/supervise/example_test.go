package supervise_test

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"syscall"
	"time"

	"github.com/digital-mycelium/os/pkg/supervise"
)

// process makes a supervise.Process of an exec.Cmd.
type process struct{ *exec.Cmd }

func (p process) PID() int                      { return p.Process.Pid }
func (p process) Signal(s syscall.Signal) error { return p.Process.Signal(s) }
func (p process) Ready() <-chan struct{}        { return nil }

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	service := supervise.New(supervise.Spec{
		Name: "sleeper",
		Start: func(context.Context) (supervise.Process, error) {
			c := exec.Command("sleep", "1000")
			return process{c}, c.Start()
		},
	}, slog.New(slog.DiscardHandler), func(s supervise.Status) {
		if s.State == supervise.Running {
			stop()
		}
	})
	service.Run(ctx)
	fmt.Println(service.Status().State, time.Since(service.Status().Since) < time.Hour)
	// Output: stopped true
}
