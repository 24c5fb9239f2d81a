package modules

import (
	"slices"
	"strings"
	"testing"
)

const aliases = `# Aliases extracted from modules themselves.
alias pci:v00001AF4d00001041sv*sd*bc*sc*i* virtio_pci
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e
alias virtio:d00000001v* virtio_net
alias virtio:d00000002v* virtio_blk
alias usb:v0BDAp8153d*dc*dsc*dp*ic*isc*ip*in* r8152
alias usb:v0BDAp815[0-3]d*dc*dsc*dp*ic*isc*ip*in* r8153_ecm
alias of:N*T*Cbrcm,bcm2711-genet-v5C* genet
alias acpi*:PNP0501:* 8250_pnp
alias fs-ext4 ext4
broken line
`

func TestLookup(t *testing.T) {
	table, err := ReadTable(strings.NewReader(aliases))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		alias string
		want  []string
	}{
		{"pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00", []string{"virtio_pci"}},
		{"pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00", []string{"e1000e"}},
		{"pci:v00008086d0000FFFFsv00008086sd00000000bc02sc00i00", nil},
		{"virtio:d00000001v00001AF4", []string{"virtio_net"}},
		{"usb:v0BDAp8153d3000dc00dsc00dp00icFFiscFFip00in00", []string{"r8152", "r8153_ecm"}},
		{"of:NethernetT(null)Cbrcm,bcm2711-genet-v5Cbrcm,genet", []string{"genet"}},
		{"acpi:PNP0501:", []string{"8250_pnp"}},
		{"fs-ext4", []string{"ext4"}},
		{"", nil},
	}
	for _, tt := range tests {
		if got := table.Lookup(tt.alias); !slices.Equal(got, tt.want) {
			t.Errorf("Lookup(%q) = %q, want %q", tt.alias, got, tt.want)
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "", false},
		{"*", "", true},
		{"**", "abc", true},
		{"a*c", "abbbc", true},
		{"a*c", "abbbd", false},
		{"a*b*c", "axbxbxc", true},
		{"*a", "aab", false},
		{"?", "a", true},
		{"?", "", false},
		{"[ab]c", "bc", true},
		{"[!ab]c", "bc", false},
		{"[!ab]c", "xc", true},
		{"[0_3]", "2", true},
		{"[0_3]", "4", false},
		{"[", "[", true},
		{"[]", "[]", true},
	}
	for _, tt := range tests {
		if got := Match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("Match(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a*[b_d]?", "axcz")
	f.Add("[!", "x")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		Match(pattern, s)
		if !strings.ContainsAny(s, "*?[") && !Match(s, s) {
			t.Errorf("%q does not match itself", s)
		}
	})
}
