package networks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/digital-mycelium/os/pkg/durable"
)

// Config is the operator's own configuration of the command line.
type Config struct {
	// CurrentNetwork is the network that commands use when none is named.
	CurrentNetwork string `yaml:"currentNetwork,omitempty"`
}

// ReadConfig reads the file path. A missing file is an empty configuration, an
// unknown field is an error.
func ReadConfig(path string) (c Config, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("read the configuration %s: %w: mend the file or remove it", path, err)
	}
	if c.CurrentNetwork != "" {
		err = CheckName(c.CurrentNetwork)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration %s: currentNetwork: %w", path, err)
	}
	return c, nil
}

// Write replaces the file path.
func (c Config) Write(path string) error {
	data, err := yaml.Marshal(c)
	if err == nil {
		err = durable.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = durable.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}
