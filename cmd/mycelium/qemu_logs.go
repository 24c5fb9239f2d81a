package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// consoleLog is the name of the log that the host keeps: the serial port.
const consoleLog = "console"

func newLogsCommand(flags *networkFlags) *cobra.Command {
	var service string
	var follow bool
	var tail int
	cmd := &cobra.Command{
		Use:   "logs [NODE]",
		Short: "Show a node's log",
		Long: `Show a node's log: "console" is what the serial port said since the machine was
started, whether it runs or not; the others come from the running node:
"kernel", "init", and each service's.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: flags.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := flags.node(args)
			if err != nil {
				return err
			}
			if service == consoleLog {
				return showConsole(cmd.Context(), cmd.OutOrStdout(), node, follow)
			}
			return showLog(cmd.Context(), cmd.OutOrStdout(), node, service, api.LogOptions{Follow: follow, Tail: tail})
		},
	}
	cmd.Flags().StringVar(&service, "service", consoleLog, "k3s, kernel, init, console or another log of the node's")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new lines")
	cmd.Flags().IntVar(&tail, "tail", 0, "begin with this many last lines (not for the console)")
	complete(cmd, "service", consoleLog, "init", "kernel", "k3s")
	return cmd
}

func showLog(ctx context.Context, w io.Writer, node *qemu.Node, name string, opts api.LogOptions) error {
	client, err := node.Client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	log, err := client.Log(ctx, name, opts)
	if err != nil {
		return fmt.Errorf("log %s of %s (while the node does not answer, --service console shows what it says): %w", name, node.Name(), err)
	}
	defer log.Close()
	if _, err := io.Copy(w, log); err != nil && ctx.Err() == nil {
		return fmt.Errorf("log %s of %s: %w", name, node.Name(), err)
	}
	return nil
}

// showConsole writes the console as text, so that nothing in it steers the
// reader's terminal.
func showConsole(ctx context.Context, w io.Writer, node *qemu.Node, follow bool) error {
	offset, err := node.ConsoleStart()
	if err != nil {
		return err
	}
	for {
		data, err := node.ConsoleFrom(offset)
		if err != nil {
			return err
		}
		offset += int64(len(data))
		if _, err := io.WriteString(w, qemu.Plain(data)); err != nil {
			return err
		}
		running, err := node.Running()
		if err != nil || !follow || !running {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func newKubeconfigCommand(flags *networkFlags) *cobra.Command {
	var path bool
	cmd := &cobra.Command{
		Use:   "kubeconfig [NODE]",
		Short: "Fetch the admin kubeconfig, for kubectl on this computer",
		Example: `  export KUBECONFIG=$(mycelium qemu kubeconfig --path)
  kubectl get nodes`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: flags.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := flags.node(args)
			if err != nil {
				return err
			}
			data, err := node.Kubeconfig(cmd.Context())
			if err != nil {
				return err
			}
			if path {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), node.KubeconfigPath())
			} else {
				_, err = cmd.OutOrStdout().Write(data)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&path, "path", false, "print the path of the file instead of its content")
	return cmd
}

func newLoadCommand(flags *networkFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "load ARCHIVE [NODE...]",
		Short: "Put a container image archive into the nodes' image stores, without a registry",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			network, err := flags.open()
			if err != nil {
				return err
			}
			nodes := network.Nodes()
			if len(args) > 1 {
				nodes = nil
				for _, name := range args[1:] {
					node, err := network.Node(name)
					if err != nil {
						return err
					}
					nodes = append(nodes, node)
				}
			}
			for _, node := range nodes {
				if err := loadImage(cmd.Context(), node, args[0]); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: loaded %s\n", node.Name(), args[0])
			}
			return nil
		},
	}
}

// loadImage sends the archive at path to the node.
func loadImage(ctx context.Context, node *qemu.Node, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the image archive: %w", err)
	}
	defer f.Close()
	client, err := node.Client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.LoadImage(ctx, filepath.Base(path), f); err != nil {
		return fmt.Errorf("load %s into %s: %w", path, node.Name(), err)
	}
	return nil
}
