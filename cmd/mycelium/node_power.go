package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/api"
)

func newNodeRestartCommand() *cobra.Command {
	var flags nodeFlags
	cmd := &cobra.Command{
		Use:   "restart SERVICE",
		Short: "Restart a service of nodes",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fl, nodes, err := flags.acting(cmd)
			if err != nil {
				return err
			}
			return act(cmd, fl, nodes, func(ctx context.Context, n nodeRef, c nodeClient, say sayFunc) error {
				err := c.RestartService(ctx, args[0])
				if errors.Is(err, api.ErrNotFound) {
					return fmt.Errorf("%w: \"mycelium node services -n %s\" lists its services", err, n.Name)
				}
				if err == nil {
					say("%s is restarted", args[0])
				}
				return err
			})
		},
	}
	flags.register(cmd)
	cmd.ValidArgsFunction = cobra.FixedCompletions([]string{"k3s"}, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

// waitFlags say whether and how long to wait for an end.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (f *waitFlags) register(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&f.wait, "wait", false, "wait until "+what)
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait at most")
}

func newNodeRebootCommand() *cobra.Command {
	var flags nodeFlags
	var waiting waitFlags
	cmd := &cobra.Command{
		Use:   "reboot",
		Short: "Reboot nodes, in order",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fl, nodes, err := flags.acting(cmd)
			if err != nil {
				return err
			}
			return act(cmd, fl, nodes, func(ctx context.Context, n nodeRef, c nodeClient, say sayFunc) error {
				return reboot(ctx, fl, n, c, say, waiting)
			})
		},
	}
	flags.register(cmd)
	waiting.register(cmd, "the nodes run again")
	return cmd
}

// reboot reboots a node and waits for its return if that is wanted.
func reboot(ctx context.Context, fl *fleet, n nodeRef, c nodeClient, say sayFunc, w waitFlags) error {
	before, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if err := c.Reboot(ctx); err != nil {
		return err
	}
	say("reboots")
	if !w.wait {
		return nil
	}
	return waitForReturn(ctx, fl, n, before.BootID, say, w.timeout)
}

// pollPause is the time between two looks at a node that one waits for: a second, or
// what the context says instead (withPollPause).
func pollPause(ctx context.Context) time.Duration {
	if d, ok := ctx.Value(pollPauseKey{}).(time.Duration); ok {
		return d
	}
	return time.Second
}

type pollPauseKey struct{}

// withPollPause has what waits look again after d.
func withPollPause(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, pollPauseKey{}, d)
}

// waitForReturn waits until the node runs in another boot than bootID.
func waitForReturn(ctx context.Context, fl *fleet, n nodeRef, bootID string, say sayFunc, timeout time.Duration) error {
	stage := ""
	return poll(ctx, timeout, func(ctx context.Context) (bool, error) {
		s, err := call(ctx, fl, n, func(ctx context.Context, c nodeClient) (*api.Status, error) { return c.Status(ctx) })
		if err != nil {
			return false, fmt.Errorf("it has not come back: %w", err)
		}
		if s.BootID == bootID {
			return false, errors.New("it has not gone down")
		}
		if s.Phase != stage {
			stage = s.Phase
			say("%s", bootText(stage))
		}
		return stage == runningPhase, fmt.Errorf("it still boots: %s", stage)
	})
}

const runningPhase = "running"

func bootText(phase string) string {
	if phase == runningPhase {
		return "runs again"
	}
	return "boots: " + phase
}

// poll calls look until it returns true, at most for timeout; what look said
// last is why it takes so long.
func poll(ctx context.Context, timeout time.Duration, look func(context.Context) (bool, error)) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last error
	for {
		ok, err := look(limited)
		if ok {
			return nil
		}
		if limited.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("after %v: %w (--timeout waits longer)", timeout, last)
		case <-time.After(pollPause(ctx)):
		}
	}
}

func newNodeShutdownCommand() *cobra.Command {
	var flags nodeFlags
	var waiting waitFlags
	cmd := &cobra.Command{
		Use:   "shutdown",
		Short: "Power nodes off, in order",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fl, nodes, err := flags.acting(cmd)
			if err != nil {
				return err
			}
			return act(cmd, fl, nodes, func(ctx context.Context, n nodeRef, c nodeClient, say sayFunc) error {
				if err := c.Shutdown(ctx); err != nil {
					return err
				}
				say("powers off")
				if !waiting.wait {
					return nil
				}
				return waitForEnd(ctx, fl, n, say, waiting.timeout)
			})
		},
	}
	flags.register(cmd)
	waiting.register(cmd, "the nodes do not answer any more")
	return cmd
}

// waitForEnd waits until the node does not answer. That it is off then nobody
// can tell from afar.
func waitForEnd(ctx context.Context, fl *fleet, n nodeRef, say sayFunc, timeout time.Duration) error {
	return poll(ctx, timeout, func(ctx context.Context) (bool, error) {
		_, err := call(ctx, fl, n, func(ctx context.Context, c nodeClient) (*api.Status, error) { return c.Status(ctx) })
		if err != nil && ctx.Err() == nil {
			say("does not answer any more")
			return true, nil
		}
		return false, errors.New("it still answers")
	})
}

func newNodeResetCommand() *cobra.Command {
	var flags nodeFlags
	var data, all, yes, off bool
	cmd := &cobra.Command{
		Use:   "reset (--data | --all)",
		Short: "Wipe nodes and reboot them",
		Long: `Wipe nodes and reboot them.

--data wipes images, containers, Kubernetes' database, volumes and logs. --all
wipes the machine's identity and configuration as well: it leaves its network,
and has to be enrolled or invited again. The OS itself stays.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fl, nodes, err := flags.acting(cmd)
			if err != nil {
				return err
			}
			scope, what := api.ResetData, "all data: images, volumes, Kubernetes' database"
			if all {
				scope, what = api.ResetAll, "everything: data, configuration and identity. What is wiped leaves the network"
			}
			if err := confirm(cmd, yes, "This wipes "+what+". It cannot be undone.", refNames(nodes)); err != nil {
				return err
			}
			return act(cmd, fl, nodes, func(ctx context.Context, _ nodeRef, c nodeClient, say sayFunc) error {
				if err := c.Reset(ctx, scope, off); err != nil {
					return err
				}
				say("wipes itself and %s", map[bool]string{false: "reboots", true: "powers off"}[off])
				return nil
			})
		},
	}
	flags.register(cmd)
	f := cmd.Flags()
	f.BoolVar(&data, "data", false, "wipe images, containers, Kubernetes' database, volumes and logs")
	f.BoolVar(&all, "all", false, "wipe identity and configuration as well")
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.BoolVar(&off, "shutdown", false, "power off instead of rebooting")
	cmd.MarkFlagsOneRequired("data", "all")
	cmd.MarkFlagsMutuallyExclusive("data", "all")
	return cmd
}
