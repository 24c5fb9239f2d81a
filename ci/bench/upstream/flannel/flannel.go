// Package flannel is a CNI plugin that hands a pod's network to the bridge
// plugin with the subnet that the flannel daemon has written down. It does what
// flannel's own plugin does for K3s' default configuration; that plugin is not
// to be had as a Go module.
package flannel

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

const (
	defaultSubnetFile = "/run/flannel/subnet.env"
	defaultDataDir    = "/var/lib/cni/flannel"
)

// config is the part of the network configuration that the plugin reads.
type config struct {
	types.NetConf
	SubnetFile    string         `json:"subnetFile"`
	DataDir       string         `json:"dataDir"`
	Delegate      map[string]any `json:"delegate"`
	RuntimeConfig map[string]any `json:"runtimeConfig,omitempty"`
}

// Main runs the plugin.
func Main() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: add, Del: del, Check: check},
		version.PluginSupports("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"), "flannel delegate")
}

func load(stdin []byte) (config, error) {
	c := config{SubnetFile: defaultSubnetFile, DataDir: defaultDataDir}
	if err := json.Unmarshal(stdin, &c); err != nil {
		return c, fmt.Errorf("read the network configuration: %w", err)
	}
	return c, nil
}

// subnet is what the daemon writes; subnet is in its masked form, as IPAM wants it.
type subnet struct {
	network, subnet string
	mtu             int
	masquerade      bool
}

// parseSubnet reads the daemon's file, a list of NAME=value.
func parseSubnet(text string) (subnet, error) {
	var s subnet
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		var err error
		switch name {
		case "FLANNEL_NETWORK":
			s.network = value
		case "FLANNEL_SUBNET": // the gateway's address, 10.42.0.1/24
			var p netip.Prefix
			p, err = netip.ParsePrefix(value)
			s.subnet = p.Masked().String()
		case "FLANNEL_MTU":
			s.mtu, err = strconv.Atoi(value)
		case "FLANNEL_IPMASQ":
			s.masquerade, err = strconv.ParseBool(value)
		}
		if err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
	}
	if s.network == "" || s.subnet == "" || s.mtu == 0 {
		return s, errors.New("network, subnet or MTU is missing")
	}
	return s, nil
}

// delegate returns the configuration for the bridge plugin.
func delegate(c config, s subnet) map[string]any {
	d := map[string]any{"type": "bridge", "isGateway": true, "ipMasq": !s.masquerade, "mtu": s.mtu}
	for k, v := range c.Delegate {
		d[k] = v
	}
	d["name"], d["cniVersion"] = c.Name, c.CNIVersion
	d["ipam"] = map[string]any{
		"type":   "host-local",
		"ranges": [][]map[string]string{{{"subnet": s.subnet}}},
		"routes": []map[string]string{{"dst": s.network}},
	}
	if c.RuntimeConfig != nil {
		d["runtimeConfig"] = c.RuntimeConfig
	}
	return d
}

func add(args *skel.CmdArgs) error {
	c, err := load(args.StdinData)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.SubnetFile)
	if err != nil {
		return fmt.Errorf("flannel has not written the node's subnet yet: %w", err)
	}
	s, err := parseSubnet(string(text))
	if err != nil {
		return fmt.Errorf("read %s: %w", c.SubnetFile, err)
	}
	conf, err := json.Marshal(delegate(c, s))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.DataDir, args.ContainerID), conf, 0o600); err != nil {
		return err
	}
	result, err := invoke.DelegateAdd(context.TODO(), "bridge", conf, nil)
	if err != nil {
		return err
	}
	return result.Print()
}

func del(args *skel.CmdArgs) error {
	c, err := load(args.StdinData)
	if err != nil {
		return err
	}
	path := filepath.Join(c.DataDir, args.ContainerID)
	conf, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := invoke.DelegateDel(context.TODO(), "bridge", conf, nil); err != nil {
		return err
	}
	return os.Remove(path)
}

func check(*skel.CmdArgs) error { return nil }
