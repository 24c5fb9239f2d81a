package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
)

// outputFormat is the value of the flag --output.
type outputFormat string

const (
	tableFormat outputFormat = "table"
	jsonFormat  outputFormat = "json"
	yamlFormat  outputFormat = "yaml"
)

func (f *outputFormat) String() string { return string(*f) }

// Type names the values for the usage text.
func (f *outputFormat) Type() string { return "table|json|yaml" }

// Set implements pflag.Value.
func (f *outputFormat) Set(s string) error {
	switch outputFormat(s) {
	case tableFormat, jsonFormat, yamlFormat:
		*f = outputFormat(s)
		return nil
	}
	return fmt.Errorf("use %s", strings.ReplaceAll(f.Type(), "|", ", "))
}

func (f *outputFormat) register(cmd *cobra.Command) {
	*f = tableFormat
	cmd.Flags().VarP(f, "output", "o", "output format")
	complete(cmd, "output", string(tableFormat), string(jsonFormat), string(yamlFormat))
}

// complete gives the shell the values of a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
}

// write writes v in the format; table writes it for people.
func (f outputFormat) write(w io.Writer, v any, table func(io.Writer) error) error {
	switch f {
	case jsonFormat:
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case yamlFormat:
		return writeYAML(w, v)
	}
	return table(w)
}

// writeYAML writes v with the field names and order of its JSON form.
func writeYAML(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil { // JSON is YAML
		return err
	}
	blockStyle(&node)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return err
	}
	return enc.Close()
}

func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		blockStyle(c)
	}
}

// writeTable writes rows in columns. What stands in them cannot steer a terminal.
func writeTable(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = plaintext.Line(cell)
		}
		if _, err := fmt.Fprintln(t, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}
