package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/rollout"
	"github.com/digital-mycelium/os/pkg/api"
)

// applyOptions say what to roll out and how.
type applyOptions struct {
	nodeFlags
	version        string
	force, noDrain bool
	dryRun         bool
	maxUnavailable int
	drainTimeout   time.Duration
	timeout        time.Duration
}

func newUpdateApplyCommand() *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Update nodes one after the other, and stop where something is wrong",
		Long: `Update nodes one after the other, and stop where something is wrong.

All nodes fetch the version first. Then each is drained, rebooted into it on trial,
and awaited until it is good and Ready. Servers go first, since a kubelet must not be
newer than Kubernetes' API, one at a time and only while all others are up; a step
down goes the other way round. The first node that rolls back ends it.

Whatever ends it, Ctrl-C too: the same command goes on from there.`,
		Example: "  mycelium update apply --version 1.2.0\n  mycelium update apply --version 1.2.0 -n node-3,node-4 --max-unavailable 2",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return apply(cmd, &o) },
	}
	o.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.version, "version", "", "the version (default: the newest that all the nodes are offered)")
	f.BoolVar(&o.force, "force", false, "take a version that has failed on a node before")
	f.BoolVar(&o.noDrain, "no-drain", false, "do not move pods away before a node reboots")
	f.BoolVar(&o.dryRun, "dry-run", false, "only say what would be done")
	f.IntVar(&o.maxUnavailable, "max-unavailable", 1, "nodes that may be down at a time; servers go one by one")
	f.DurationVar(&o.drainTimeout, "drain-timeout", 5*time.Minute, "how long the pods of a node may take to move")
	f.DurationVar(&o.timeout, "timeout", 30*time.Minute, "how long to wait at most for a node that is down")
	return cmd
}

func apply(cmd *cobra.Command, o *applyOptions) error {
	fl, chosen, err := o.all(cmd)
	if err != nil {
		return err
	}
	if o.version == "" {
		if o.version, err = newestOffered(cmd, fl, chosen); err != nil {
			return err
		}
	}
	all := fl.known(cmd.Context())
	for _, n := range chosen { // named by an address that nobody knows
		if !containsRef(all, n) {
			all = append(all, n)
		}
	}
	w := newWatch(fl, o.version, all, chosen)
	defer w.close()
	waiting := beginWaiting(cmd, all)
	nodes := w.look(cmd.Context())
	waiting.stop()
	r := &rolling{
		o: o, watch: w,
		lines: newNodeLines(cmd.ErrOrStderr(), refNames(chosen)),
	}
	quiet := &cobra.Command{} // what is said meanwhile would go between the lines
	quiet.SetContext(cmd.Context())
	quiet.SetErr(io.Discard)
	r.pods = &kubernetesMover{flags: &o.contextFlags, cmd: quiet, fleet: fl, version: o.version, servers: w.servers}
	return r.run(cmd, nodes)
}

// newestOffered returns the highest version that the release servers offer all nodes.
func newestOffered(cmd *cobra.Command, fl *fleet, nodes []nodeRef) (string, error) {
	answers := ask(cmd, fl, nodes, func(ctx context.Context, c nodeClient) ([]api.AvailableUpdate, error) { return c.CheckUpdate(ctx) })
	if err := failed(cmd, answers); err != nil {
		return "", fmt.Errorf("ask what is offered (--version names one instead): %w", err)
	}
	var common []string
	for i, a := range answers {
		var versions []string
		for _, u := range *a.Result { // newest first
			versions = append(versions, u.Version)
		}
		if i == 0 {
			common = versions
			continue
		}
		common = slices.DeleteFunc(common, func(v string) bool { return !slices.Contains(versions, v) })
	}
	if len(common) == 0 {
		return "", errors.New("no version is offered to all of these nodes: \"mycelium update check\" shows what is; name one with --version")
	}
	return common[0], nil
}

// rolling carries a rollout out.
type rolling struct {
	o     *applyOptions
	watch *watch
	pods  podMover
	lines *nodeLines

	plan *rollout.Rollout
}

// ended is how an action has ended.
type ended struct {
	action rollout.Action
	err    error
}

func (r *rolling) run(cmd *cobra.Command, nodes []rollout.Node) error {
	ctx := cmd.Context()
	drain := !r.o.noDrain && kubelets(nodes) > 1
	o := rollout.Options{
		Version: r.o.version, Force: r.o.force, Drain: drain, MaxUnavailable: r.o.maxUnavailable, Patience: r.o.timeout,
	}
	plan, err := rollout.New(o, nodes, nil)
	if err != nil {
		return err
	}
	r.announce(cmd.ErrOrStderr(), plan, nodes, drain)
	if r.o.dryRun {
		return nil
	}
	held, err := r.held(ctx, drain)
	if err == nil {
		r.plan, err = rollout.New(o, r.watch.look(ctx), held)
	}
	if err == nil {
		err = r.loop(ctx)
	}
	if ctx.Err() != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "Stopped. What a node has begun it ends by itself; the same command goes on from there.")
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "All %d nodes run %s.\n", len(r.plan.Order()), r.o.version)
	return nil
}

func kubelets(nodes []rollout.Node) (n int) {
	for _, node := range nodes {
		if node.Kubelet {
			n++
		}
	}
	return n
}

// announce says what is going to happen, and what that interrupts.
func (r *rolling) announce(w io.Writer, plan *rollout.Rollout, nodes []rollout.Node, drain bool) {
	var steps []string
	for _, name := range plan.Order() {
		n := nodes[slices.IndexFunc(nodes, func(n rollout.Node) bool { return n.Name == name })]
		text := "unknown, " + n.Problem
		if n.Problem == "" {
			text = n.Running
			if n.Server {
				text += ", server"
			}
		}
		steps = append(steps, fmt.Sprintf("%s (%s)", name, text))
	}
	fmt.Fprintf(w, "To %s, in this order: %s.\n", r.o.version, strings.Join(steps, ", "))
	for _, line := range rollout.Impact(nodes, drain) {
		fmt.Fprintln(w, line)
	}
}

// held returns the nodes that an earlier rollout has left without new pods. It
// waits for a cluster that is just rebooting.
func (r *rolling) held(ctx context.Context, needed bool) ([]string, error) {
	var out []string
	said := false
	look := func(ctx context.Context) (bool, error) {
		r.watch.look(ctx)
		refs, err := r.pods.Held(ctx, r.watch.refs())
		if err != nil && !said && needed {
			said = true
			r.lines.say("cluster", "does not answer yet: %v (--no-drain does without)", err)
		}
		out = refNames(refs)
		return err == nil, err
	}
	if !needed { // nothing depends on it
		_, err := look(ctx)
		if err != nil {
			return nil, nil //nolint:nilerr // it was asked to do without
		}
		return out, nil
	}
	return out, poll(ctx, max(r.o.timeout, patient), look)
}

// loop looks, and does what is to be done, until nothing is left.
func (r *rolling) loop(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	ends := make(chan ended)
	tick := time.NewTicker(pollPause(ctx))
	defer tick.Stop()
	for {
		nodes := r.watch.look(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		before := r.plan.Halted()
		s := r.plan.Next(time.Now(), nodes)
		if halted := r.plan.Halted(); halted != nil && before == nil && !s.Done {
			fmt.Fprintf(r.lines, "Halted: %v\nWhat is under way comes to its end.\n", halted)
		}
		r.show(nodes, s)
		if s.Done {
			return r.result()
		}
		for _, a := range s.Do {
			work.Go(func() {
				e := ended{a, r.carryOut(ctx, a)}
				select {
				case ends <- e:
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-ends:
			r.plan.Ended(e.action, e.err, time.Now())
		case <-tick.C:
		}
	}
}

func (r *rolling) result() error {
	if err := r.plan.Halted(); err != nil {
		return fmt.Errorf("%w\n%s", err, r.plan.Advice())
	}
	return nil
}

// show says how it is with each chosen node.
func (r *rolling) show(nodes []rollout.Node, s rollout.State) {
	for _, n := range nodes {
		if !n.Chosen {
			continue
		}
		words, more := s.Waits[n.Name], ""
		if n.Activity != nil {
			_, more = activityText(n.Activity)
		}
		if words == "" && n.Problem == "" && n.Running == r.o.version {
			words = "runs " + r.o.version
		} else if words == "" {
			words = "has " + r.o.version
		}
		r.lines.set(n.Name, words, more)
	}
}

// carryOut does what the rollout wants done.
func (r *rolling) carryOut(ctx context.Context, a rollout.Action) error {
	say := func(s string) { r.lines.say(a.Node, "%s", s) }
	switch a.Verb {
	case rollout.Drain:
		return r.pods.Drain(ctx, r.watch.ref(a.Node), r.o.drainTimeout, say)
	case rollout.Uncordon:
		return r.pods.Uncordon(ctx, r.watch.ref(a.Node))
	case rollout.Try:
		_, err := call(ctx, r.watch.fleet, r.watch.ref(a.Node), func(ctx context.Context, c nodeClient) (struct{}, error) {
			return struct{}{}, c.TryUpdate(ctx)
		})
		if refusal := (*api.CallError)(nil); err != nil && !errors.As(err, &refusal) {
			say("the answer was lost, what it does will show: " + err.Error())
			return nil
		}
		return err
	}
	return r.stage(ctx, a)
}

// stage lets a node fetch the version; it waits while that fetches something
// already, by itself or since a rollout that was broken off.
func (r *rolling) stage(ctx context.Context, a rollout.Action) error {
	for {
		busy, err := call(ctx, r.watch.fleet, r.watch.ref(a.Node), func(ctx context.Context, c nodeClient) (bool, error) {
			_, err := c.StageUpdate(ctx, r.o.version, a.Force)
			if !errors.Is(err, api.ErrConflict) {
				return false, err
			}
			s, serr := c.Status(ctx)
			if serr == nil && s.Update != nil && (s.Update.Activity != nil || s.Update.Trial != nil) {
				return true, nil
			}
			return false, err
		})
		if err != nil || !busy {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollPause(ctx)):
		}
	}
}
