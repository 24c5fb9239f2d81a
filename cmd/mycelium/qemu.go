package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/qemu"
)

// networkFlags choose one of the user's QEMU networks.
type networkFlags struct {
	name     string
	stateDir string
}

func newQEMUCommand() *cobra.Command {
	flags := &networkFlags{}
	cmd := &cobra.Command{
		Use:   "qemu",
		Short: "Run networks of machines in QEMU on this computer",
		Long: `Run networks of machines in QEMU on this computer.

Nothing here needs root. A network's disks, logs and keys stand in one
directory, its ports on 127.0.0.1, and "down" leaves nothing of it.`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	pf := cmd.PersistentFlags()
	pf.StringVar(&flags.name, "name", "default", "the network's name")
	pf.StringVar(&flags.stateDir, "state-dir", "", "the network's directory (default $XDG_STATE_HOME/mycelium/qemu/NAME)")
	cmd.AddCommand(
		newUpCommand(flags), newStatusCommand(flags), newLogsCommand(flags), newConsoleCommand(flags),
		newDownCommand(flags), newKubeconfigCommand(flags), newLoadCommand(flags), newDemoCommand(flags),
		newPowerCommand(flags), newEnrolCommand(flags), newListCommand(flags),
	)
	return cmd
}

// root is the directory that holds the user's networks.
func (f *networkFlags) root() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the home directory (use --state-dir instead): %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "mycelium", "qemu"), nil
}

// dir is the chosen network's directory.
func (f *networkFlags) dir() (string, error) {
	if f.stateDir != "" {
		return f.stateDir, nil
	}
	root, err := f.root()
	if err != nil {
		return "", err
	}
	if f.name == "" || f.name != filepath.Base(f.name) || strings.HasPrefix(f.name, ".") {
		return "", fmt.Errorf("the network name %q must be lower-case letters, digits and hyphens", f.name)
	}
	return filepath.Join(root, f.name), nil
}

// open takes up the chosen network, which must exist.
func (f *networkFlags) open() (*qemu.Network, error) {
	dir, err := f.dir()
	if err != nil {
		return nil, err
	}
	n, err := qemu.OpenNetwork(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &noNetworkError{f.name, dir}
	}
	return n, err
}

// noNetworkError says that a network is not there and what to do.
type noNetworkError struct{ name, dir string }

func (e *noNetworkError) Error() string {
	return fmt.Sprintf("there is no network %q in %s; start one with: mycelium qemu up --image FILE", e.name, e.dir)
}

// Is makes it fs.ErrNotExist.
func (e *noNetworkError) Is(target error) bool { return target == fs.ErrNotExist }

// node takes up the node that args name, or the first.
func (f *networkFlags) node(args []string) (*qemu.Node, error) {
	n, err := f.open()
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return n.Nodes()[0], nil
	}
	return n.Node(args[0])
}

// completeNodes gives the shell the names of the network's nodes.
func (f *networkFlags) completeNodes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	n, err := f.open()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, node := range n.Nodes() {
		names = append(names, node.Name())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
