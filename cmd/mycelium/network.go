package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/networks"
)

// contextFlags choose the network that a command is about.
type contextFlags struct{ network string }

func newNetworkCommand() *cobra.Command {
	flags := &contextFlags{}
	cmd := &cobra.Command{
		Use:     "network",
		Aliases: []string{"networks"},
		Short:   "Found networks and say who belongs to them",
		Long: `Found networks and say who belongs to them.

A network is a root key. Its directory is $XDG_DATA_HOME/mycelium/networks/NAME.
Commands are about the current network ("use" sets it) unless MYCELIUM_NETWORK
or --network names another.`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(
		newNetworkCreateCommand(), newNetworkListCommand(), newNetworkUseCommand(), newNetworkShowCommand(flags),
		newNetworkDelegateCommand(flags), newNetworkRotateCommand(flags), newNetworkRevokeCommand(flags),
		newNetworkCertificateCommand(flags), newNetworkKeyCommand(), newNetworkImportCommand(), newNetworkDeleteCommand(),
	)
	return cmd
}

// register adds --network to a command.
func (f *contextFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.network, "network", "", "the network (default $MYCELIUM_NETWORK, else the current one)")
	if err := cmd.RegisterFlagCompletionFunc("network", completeNetworks); err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
}

// completeNetworks gives the shell the names of the networks.
func completeNetworks(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	store, err := openStore()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, _ := store.List()
	return names, cobra.ShellCompDirectiveNoFileComp
}

// xdgDir is our directory below one of the XDG base directories; fallback is
// that directory's place in the home directory.
func xdgDir(variable, fallback string) (string, error) {
	base := os.Getenv(variable)
	if !filepath.IsAbs(base) { // the specification: a relative one is to be ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the home directory (set %s instead): %w", variable, err)
		}
		base = filepath.Join(home, fallback)
	}
	return filepath.Join(base, "mycelium"), nil
}

func openStore() (*networks.Store, error) {
	dir, err := xdgDir("XDG_DATA_HOME", ".local/share")
	return &networks.Store{Dir: filepath.Join(dir, "networks"), Built: built()}, err
}

// built is the earliest time that it can be: that of the commit this was built from.
func built() time.Time {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

func configPath() (string, error) {
	dir, err := xdgDir("XDG_CONFIG_HOME", ".config")
	return filepath.Join(dir, "config.yaml"), err
}

// current is the network that config.yaml names.
func current() (string, error) {
	path, err := configPath()
	if err != nil {
		return "", err
	}
	c, err := networks.ReadConfig(path)
	return c.CurrentNetwork, err
}

func setCurrent(name string) error {
	path, err := configPath()
	if err != nil {
		return err
	}
	c, err := networks.ReadConfig(path)
	if err != nil {
		return err
	}
	c.CurrentNetwork = name
	return c.Write(path)
}

// chosen is the network that MYCELIUM_NETWORK names, else the current one.
func chosen() (string, error) {
	if name := os.Getenv("MYCELIUM_NETWORK"); name != "" {
		return name, nil
	}
	return current()
}

// name is the name of the network that the command is about.
func (f *contextFlags) name() (name string, err error) {
	if name = f.network; name == "" {
		name, err = chosen()
	}
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", errors.New("no network is chosen: found one with \"mycelium network create NAME\", or choose one with --network or \"mycelium network use NAME\"")
	}
	return name, networks.CheckName(name)
}

// open takes up the chosen network and renews the operator's certificate when it
// is time. The caller must close it.
func (f *contextFlags) open(cmd *cobra.Command) (*networks.Network, error) {
	n, err := f.openStale(cmd)
	if err != nil {
		return nil, err
	}
	renewed, err := n.Renew()
	if err != nil { // no obstacle to what may mend it
		fmt.Fprintf(cmd.ErrOrStderr(), "Note: %v\n", err)
	}
	if renewed && err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "Renewed your certificate, valid until %s.\n", day(n.Certificate().NotAfter))
	}
	return n, nil
}

// openStale is open without the renewal.
func (f *contextFlags) openStale(cmd *cobra.Command) (*networks.Network, error) {
	name, err := f.name()
	if err != nil {
		return nil, err
	}
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	n, err := store.Open(cmd.Context(), name)
	if errors.Is(err, networks.ErrNotFound) {
		return nil, fmt.Errorf("%w; \"mycelium network list\" shows those that are there", err)
	}
	return n, err
}

func newNetworkUseCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "use NAME",
		Short:             "Make a network the current one",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNetworks,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			if _, err := store.Find(args[0]); err != nil {
				return err
			}
			if err := setCurrent(args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "The current network is %s.\n", args[0])
			return err
		},
	}
}

func newNetworkDeleteCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a network's keys and state from this computer",
		Long: `Delete a network's keys and state from this computer, the root key included.

The network's nodes go on, but without a backup of the root key nobody can ever
delegate, rotate or invite in it again.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNetworks,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			store, err := openStore()
			if err != nil {
				return err
			}
			dir, err := store.Find(name)
			if err != nil {
				return err
			}
			if !yes {
				fmt.Fprintf(cmd.ErrOrStderr(), "This deletes %s with the keys in it, for good.\nType the network's name to go on: ", dir)
				line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				if strings.TrimSpace(line) != name {
					return fmt.Errorf("network %q is not deleted: its name was not typed (--yes does not ask)", name)
				}
			}
			if err := store.Delete(cmd.Context(), name); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Network %s is deleted.\n", name)
			if now, err := current(); err != nil || now != name {
				return err
			}
			return setCurrent("")
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
