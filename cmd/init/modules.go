package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/kmodule"

	"github.com/digital-mycelium/os/cmd/init/internal/modules"
)

// extraModules are wanted by Kubernetes and have no device that asks for them.
// A kernel that has them built in, or not at all, is no error.
func extraModules() []string {
	return []string{"overlay", "br_netfilter", "nf_conntrack", "nft_chain_nat", "nft_masq", "veth", "bridge", "ext4", "vfat", "nls_cp437", "nls_ascii"}
}

// moduleRounds is how often the devices are looked at: a bus driver's loading
// makes new devices appear.
const moduleRounds = 4

// loadModules loads the driver of every device that asks for one. A kernel
// without modules has nothing to load.
func (m *machine) loadModules(context.Context) error {
	dir := filepath.Join("/lib/modules", unameInfo())
	f, err := os.Open(filepath.Join(dir, "modules.alias"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the module aliases: %w", err)
	}
	defer f.Close()
	table, err := modules.ReadTable(f)
	if err != nil {
		return err
	}
	prober, err := kmodule.NewProber(kmodule.ProbeOpts{})
	if err != nil {
		return fmt.Errorf("read the module dependencies in %s: %w", dir, err)
	}
	tried := map[string]bool{}
	load := func(name string) {
		if tried[name] {
			return
		}
		tried[name] = true
		if err := prober.Probe(name, ""); err != nil {
			m.log.Info("module not loaded", "module", name, "error", err)
		}
	}
	for range moduleRounds {
		before := len(tried)
		for _, alias := range deviceAliases("/sys/devices") {
			for _, name := range table.Lookup(alias) {
				load(name)
			}
		}
		if len(tried) == before {
			break
		}
	}
	for _, name := range extraModules() {
		load(name)
	}
	m.log.Info("modules loaded", "tried", len(tried))
	return nil
}

// deviceAliases returns the aliases of all devices below dir, each once.
func deviceAliases(dir string) []string {
	var aliases []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a device that has just gone
		}
		switch d.Name() {
		case "modalias":
			if alias := readLine(path); alias != "" {
				aliases = append(aliases, alias)
			}
		case "uevent":
			aliases = append(aliases, ueventAliases(path)...)
		}
		return nil
	})
	slices.Sort(aliases)
	return slices.Compact(aliases)
}

// ueventAliases returns the MODALIAS lines of a uevent file: devices of some
// buses (device tree) have them only there.
func ueventAliases(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var aliases []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if alias, ok := strings.CutPrefix(s.Text(), "MODALIAS="); ok {
			aliases = append(aliases, alias)
		}
	}
	return aliases
}
