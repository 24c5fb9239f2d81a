package redact

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkText is a whole log, as long as they become.
func BenchmarkText(b *testing.B) {
	var s strings.Builder
	for i := 0; s.Len() < 256<<10; i++ {
		fmt.Fprintf(&s, "time=\"2026-11-21T12:00:%02dZ\" level=info msg=\"Handling backend connection request [node-%d]\" url=\"https://127.0.0.1:6443/v1-k3s/connect\"\n", i%60, i)
	}
	r := New([]string{"0123456789abcdef0123456789abcdef", "another secret of the machine"})
	b.SetBytes(int64(s.Len()))
	for b.Loop() {
		r.Text(s.String())
	}
}
