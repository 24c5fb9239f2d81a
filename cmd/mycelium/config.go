package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/docs"
	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/pkg/config"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write, check and apply the configuration of nodes",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(
		newPrintCommand("schema", "Print the JSON Schema of the configuration, for editors", docs.NodeConfigSchema),
		newPrintCommand("default", "Print a configuration to begin with: the defaults, and everything else as comments", disk.ExampleConfig),
		newConfigValidateCommand(), newConfigGetCommand(), newConfigApplyCommand(),
	)
	return cmd
}

func newPrintCommand(name, short string, text []byte) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(text)
			return err
		},
	}
}

func newConfigValidateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration as a node does",
		Long: `Check a configuration as a node does when it boots. Every mistake is printed on a
line of its own as file:line:column: field: what is wrong (what to write).`,
		Example: "  mycelium config validate mycelium.yaml\n  mycelium config validate - < mycelium.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			document, err := readDocument(name, cmd.InOrStdin())
			if err != nil {
				return fmt.Errorf("read the configuration: %w", err)
			}
			_, err = config.Parse(document)
			if err = tellMistakes(cmd.ErrOrStderr(), name, err); err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: right\n", fileName(name))
			}
			return err
		},
	}
}

// readDocument reads one byte more than config.Parse accepts, so that it says
// what is too long without reading on for ever.
func readDocument(name string, stdin io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(stdin, config.MaxSize+1))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, config.MaxSize+1))
}

// fileName is what a file that was named on the command line is called.
func fileName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

// tellMistakes prints those of the error of config.Parse for the file to problems.
func tellMistakes(problems io.Writer, name string, err error) error {
	if err == nil {
		return nil
	}
	name = fileName(name)
	var list config.Errors
	if !errors.As(err, &list) {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, e := range list {
		fmt.Fprintln(problems, e.At(name))
	}
	if len(list) == 1 {
		return fmt.Errorf("%s: one mistake", name)
	}
	return fmt.Errorf("%s: %d mistakes", name, len(list))
}
