package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"testing"
)

func TestFillCNI(t *testing.T) {
	template, err := os.ReadFile("../../rootfs/files" + cniTemplate)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fillCNI(template, netip.MustParsePrefix("10.42.7.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	type plugin struct {
		Type, Bridge, Backend string
		MTU                   int
		IPMasq                *bool
		IPMasqBackend         *string
		IsDefaultGateway      bool
		IPAM                  struct {
			Type   string
			Ranges [][]struct{ Subnet string }
		}
	}
	var list struct {
		Name, CNIVersion string
		Plugins          []plugin
	}
	if err := json.Unmarshal(got, &list); err != nil {
		t.Fatal(err)
	}
	if list.Name != "mycelium" || list.CNIVersion == "" || len(list.Plugins) != 2 || list.Plugins[1].Type != "portmap" || list.Plugins[1].Backend != "nftables" {
		t.Errorf("list: %+v", list)
	}
	b := list.Plugins[0]
	if b.Type != "bridge" || b.Bridge != "cni0" || b.MTU != podMTU || b.IPMasq == nil || *b.IPMasq || b.IPMasqBackend != nil || !b.IsDefaultGateway {
		t.Errorf("bridge: %+v", b)
	}
	if want := [][]struct{ Subnet string }{{{"10.42.7.0/24"}}}; b.IPAM.Type != "host-local" || !reflect.DeepEqual(b.IPAM.Ranges, want) {
		t.Errorf("addresses: %+v", b.IPAM)
	}
	again, err := fillCNI(got, netip.MustParsePrefix("10.42.7.0/24"))
	if err != nil || string(again) != string(got) {
		t.Errorf("filled twice: %s, %v", again, err)
	}
}

func TestFillCNIRefuses(t *testing.T) {
	const good = `{"plugins": [{"type": "bridge", "ipam": {}}]}`
	for _, tt := range []struct {
		template string
		cidr     netip.Prefix
	}{
		{good, netip.Prefix{}},
		{good, netip.MustParsePrefix("10.42.7.1/24")},
		{good, netip.MustParsePrefix("10.42.7.0/31")},
		{good, netip.MustParsePrefix("fd00::/64")},
		{`{`, netip.MustParsePrefix("10.42.7.0/24")},
		{`{}`, netip.MustParsePrefix("10.42.7.0/24")},
		{`{"plugins": [{"type": "bridge"}, 7]}`, netip.MustParsePrefix("10.42.7.0/24")},
	} {
		if got, err := fillCNI([]byte(tt.template), tt.cidr); err == nil {
			t.Errorf("%s with %s: %s", tt.template, tt.cidr, got)
		}
	}
	if _, err := fillCNI([]byte(good), netip.MustParsePrefix("10.42.7.0/24")); err != nil {
		t.Error(err)
	}
}
