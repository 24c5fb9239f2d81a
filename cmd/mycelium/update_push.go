package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/osfile"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

const developerKey = "the developer's key"

// statementTime is for how long a pushed file can be staged.
const statementTime = 24 * time.Hour

// pushOptions say what to push and how.
type pushOptions struct {
	nodeFlags
	unlockFlags
	waitFlags
	key       string // file
	board     string
	try       bool
	downgrade bool
}

func newUpdatePushCommand() *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:   "push FILE",
		Short: "Put an OS file of your own into the idle slot of nodes",
		Long: `Put an OS file of your own into the idle slot of nodes.

The file says itself which version it is and for which board. The key that signs
it ("mycelium update key new") must be one of update.developers in the nodes'
configuration.`,
		Example: "  mycelium update push build/qemu-amd64.efi -n node-2 --key dev.age --try",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return push(cmd, &o, args[0]) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"efi"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	o.nodeFlags.register(cmd)
	o.unlockFlags.register(cmd, developerKey)
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "the file of the developer's key")
	f.StringVar(&o.board, "board", "", "the board that the file is for, if it does not say so itself")
	f.BoolVar(&o.try, "try", false, "reboot into it, and wait for the verdict")
	f.BoolVar(&o.downgrade, "downgrade", false, "allow it although a higher version was good on the node already")
	f.DurationVar(&o.timeout, "timeout", 30*time.Minute, "how long to wait for the verdict at most")
	if err := cmd.MarkFlagRequired("key"); err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
	return cmd
}

func push(cmd *cobra.Command, o *pushOptions, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the OS file: %w", err)
	}
	defer f.Close()
	says, err := osfile.Describe(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	statement := identity.OSFile{Version: says.Version, Board: says.Board, Digest: says.Digest, Size: says.Size}
	if statement.Board = cmp.Or(o.board, statement.Board); statement.Board == "" {
		return fmt.Errorf("%s does not say for which board it is: name it with --board", path)
	}
	fl, nodes, err := o.acting(cmd)
	if err != nil {
		return err
	}
	signed, err := o.sign(cmd, statement)
	if err != nil {
		return err
	}
	lines := newNodeLines(cmd.ErrOrStderr(), refNames(nodes))
	return act(cmd, fl, nodes, func(ctx context.Context, n nodeRef, c nodeClient, _ sayFunc) error {
		p := pushing{fleet: fl, node: n, lines: lines, digest: hex.EncodeToString(statement.Digest[:]), timeout: o.timeout}
		before, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if before.Board != statement.Board {
			return fmt.Errorf("it is a %s, the file is for a %s: build one for it (mycelium image build --board %s)", before.Board, statement.Board, before.Board)
		}
		// Each node gets the file at its own pace.
		file := &counted{r: io.NewSectionReader(f, 0, int64(statement.Size)), seen: func(n uint64) { p.sent(n, statement.Size) }}
		version, err := c.PushUpdate(ctx, signed, file)
		if err != nil {
			return err
		}
		lines.set(n.Name, "has staged "+version, "")
		if !o.try {
			return nil
		}
		if err := c.TryUpdate(ctx); err != nil {
			return err
		}
		return p.verdict(ctx, before.BootID)
	})
}

// sign signs the statement for the chosen network.
func (o *pushOptions) sign(cmd *cobra.Command, statement identity.OSFile) ([]byte, error) {
	ids, err := o.unlockFlags.ask(cmd, developerKey)
	if err != nil {
		return nil, err
	}
	key, err := identity.ReadKey(o.key, ids...)
	if err != nil {
		return nil, err
	}
	n, err := o.open(cmd)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	statement.Network, statement.Key, statement.Downgrade = n.Verifier.Network(), key.Public(), o.downgrade
	statement.NotAfter = time.Now().Add(statementTime)
	return identity.Sign(key, statement)
}

// counted says how much of a file was read.
type counted struct {
	r    io.Reader
	n    uint64
	seen func(n uint64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += uint64(n)
	c.seen(c.n)
	return n, err
}

// pushing is a push to one node.
type pushing struct {
	fleet   *fleet
	node    nodeRef
	lines   *nodeLines
	digest  string // of the OS file, in hexadecimal
	timeout time.Duration
}

func (p *pushing) sent(n, total uint64) {
	if n < total {
		p.lines.set(p.node.Name, "gets the file", bar(n, total)+" of "+size(total))
		return
	}
	p.lines.set(p.node.Name, "writes and verifies the file", "")
}

// verdict waits until the node has judged the file.
func (p *pushing) verdict(ctx context.Context, boot string) error {
	var failure error
	err := poll(ctx, p.timeout, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, shortly)
		defer cancel()
		s, err := call(ctx, p.fleet, p.node, func(ctx context.Context, c nodeClient) (*api.Status, error) { return c.Status(ctx) })
		if err != nil {
			p.lines.set(p.node.Name, "reboots into it", "")
			return false, fmt.Errorf("it has not come back: %w", err)
		}
		words, done, err := verdictOn(p.digest, boot, s)
		p.lines.set(p.node.Name, words, "")
		failure = err
		return done || err != nil, errors.New(words)
	})
	return errors.Join(err, failure)
}

// verdictOn says how it is with the OS file that has a digest on a node that was
// asked to try it in a boot: in words, whether it is good, or why it never will be.
func verdictOn(digest, boot string, s *api.Status) (words string, isGood bool, err error) {
	if s.Update == nil {
		return "boots", false, nil
	}
	for _, slot := range s.Update.Slots {
		if slot.Digest != digest {
			continue
		}
		switch {
		case slot.Phase == "good" && slot.Running && s.BootID != boot:
			return slot.Version + " is good", true, nil
		case slot.Phase == "bad":
			return slot.Version + " was taken back", false, fmt.Errorf("it has rolled back: %s", cmp.Or(slot.Reason, "no reason is known"))
		case slot.Phase == "trial" && slot.Running:
			words = slot.Version + " is on trial"
			if t := s.Update.Trial; t != nil && len(t.Waiting) > 0 {
				words += ", still waits for " + strings.Join(t.Waiting, ", ")
			}
			return words, false, nil
		case slot.Phase == "staged" && s.BootID != boot:
			return "put off", false, fmt.Errorf("the trial was put off: %s: run \"mycelium update push --try\" again", cmp.Or(slot.Reason, "it was rebooted meanwhile"))
		}
		return "reboots into it", false, nil
	}
	return "gone", false, errors.New("the file is not in a slot any more: somebody else updates the node")
}

func newUpdateKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make keys for developers, who may push OS files",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newUpdateKeyNewCommand())
	return cmd
}

func newUpdateKeyNewCommand() *cobra.Command {
	var protect protectFlags
	cmd := &cobra.Command{
		Use:   "new FILE",
		Short: "Make a developer's key and print its public key",
		Long: `Make a developer's key and print its public key, which goes into
update.developers of the configuration of those nodes that shall take OS files
from it. The key is encrypted, as a rule by a passphrase that is asked for.`,
		Example: "  mycelium update key new dev.age",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Lstat(args[0]); err == nil {
				return fmt.Errorf("%s is there already: choose another name, a key is never overwritten", args[0])
			}
			to, generated, err := protect.ask(cmd, developerKey)
			if err != nil {
				return err
			}
			key := identity.GenerateKey()
			if err := identity.WriteKey(args[0], key, to...); err != nil {
				return err
			}
			if err := protect.show(cmd, generated, developerKey); err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "Put this into update.developers of the nodes' configuration:")
			_, err = fmt.Fprintln(cmd.OutOrStdout(), key.Public())
			return err
		},
	}
	protect.register(cmd, "", developerKey)
	return cmd
}
