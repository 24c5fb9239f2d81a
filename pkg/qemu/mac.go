package qemu

import (
	"crypto/sha256"
	"fmt"
)

// MAC returns a locally administered hardware address that is always the same
// for the same names.
func MAC(names ...string) string {
	h := sha256.New()
	for _, n := range names {
		fmt.Fprintf(h, "%d:%s", len(n), n)
	}
	sum := h.Sum(nil)
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[0], sum[1], sum[2])
}
