package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// detachKey is Ctrl-].
const detachKey = 0x1d

func newConsoleCommand(flags *networkFlags) *cobra.Command {
	return &cobra.Command{
		Use:               "console [NODE]",
		Short:             "Sit down at a machine's serial port; Ctrl-] leaves it",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: flags.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := flags.node(args)
			if err != nil {
				return err
			}
			conn, err := node.DialConsole(cmd.Context())
			if err != nil {
				return fmt.Errorf("%w; is the node on? (mycelium qemu status%s)", err, flags.hint())
			}
			defer func() { _ = conn.Close() }() // it only carried what a person typed and saw
			fmt.Fprintf(cmd.ErrOrStderr(), "Connected to the serial port of %s. Ctrl-] leaves it.\r\n", node.Name())
			restore, err := rawTerminal(os.Stdin)
			if err != nil {
				return err
			}
			err = attach(cmd.Context(), conn, cmd.InOrStdin(), cmd.OutOrStdout())
			return errors.Join(err, restore())
		},
	}
}

// rawTerminal switches the terminal f to pass every key on; restore undoes it.
func rawTerminal(f *os.File) (restore func() error, err error) {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return func() error { return nil }, nil
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("prepare the terminal: %w", err)
	}
	return func() error { return term.Restore(fd, old) }, nil
}

// attach connects a person with conn until the detach key, the end of either
// side, or the end of ctx.
func attach(ctx context.Context, conn net.Conn, in io.Reader, out io.Writer) error {
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(out, conn)
		ended <- err
	}()
	go func() { ended <- copyUntil(conn, in, detachKey) }()
	select {
	case err := <-ended:
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		return err
	case <-ctx.Done():
		return nil
	}
}

// copyUntil copies until the byte end, which is not copied.
func copyUntil(w io.Writer, r io.Reader, end byte) error {
	buf := make([]byte, 256)
	for {
		n, err := r.Read(buf)
		for i, b := range buf[:n] {
			if b == end {
				_, err := w.Write(buf[:i])
				return err
			}
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
