package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
)

// podMTU is the MTU of pods' links: what fits into WireGuard's packets on an
// Ethernet of 1500 bytes.
const podMTU = 1420

// cniConfig returns the pod network's configuration for the range that
// Kubernetes gave to this node.
func cniConfig(podCIDR netip.Prefix) ([]byte, error) {
	template, err := os.ReadFile(cniTemplate)
	if err != nil {
		return nil, fmt.Errorf("configure the pod network: %w", err)
	}
	return fillCNI(template, podCIDR)
}

// fillCNI puts the pods' range and MTU into the template. The bridge does not
// masquerade: init does, for what leaves the cluster.
func fillCNI(template []byte, podCIDR netip.Prefix) ([]byte, error) {
	if !podCIDR.Addr().Is4() || podCIDR != podCIDR.Masked() || podCIDR.Bits() > 30 {
		return nil, fmt.Errorf("configure the pod network: %s is no range of IPv4 addresses for pods", podCIDR)
	}
	var list map[string]any
	if err := json.Unmarshal(template, &list); err != nil {
		return nil, fmt.Errorf("configure the pod network: read the template: %w", err)
	}
	plugins, _ := list["plugins"].([]any)
	for _, p := range plugins {
		bridge, _ := p.(map[string]any)
		ipam, _ := bridge["ipam"].(map[string]any)
		if bridge["type"] != "bridge" || ipam == nil {
			continue
		}
		ipam["ranges"] = [][]map[string]string{{{"subnet": podCIDR.String()}}}
		bridge["mtu"] = podMTU
		bridge["ipMasq"] = false
		delete(bridge, "ipMasqBackend")
		return json.MarshalIndent(list, "", "  ")
	}
	return nil, errors.New("configure the pod network: the template has no bridge with an address range")
}
