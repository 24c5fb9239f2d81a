package ext4

import (
	"fmt"
	"slices"
	"testing"
)

const mib = 1 << 20

// The places to overwrite on a partition of 64 MiB.
func ExampleCopies() {
	places := Copies(64 * mib)
	slices.Sort(places)
	for _, p := range places {
		fmt.Println(p)
	}
	// Output:
	// 8389632
	// 25166848
	// 33554432
	// 41944064
	// 58721280
}

func TestCopies(t *testing.T) {
	// mke2fs -n says of 256 MiB with blocks of 1 KiB: 8193, 24577, 40961, 57345, 73729, 204801, 221185.
	got := Copies(256 * mib)
	for _, block := range []int64{8193, 24577, 40961, 57345, 73729, 204801, 221185} {
		if !slices.Contains(got, block*1024) {
			t.Errorf("block %d is missing in %v", block, got)
		}
	}
	// And of 16 GiB with blocks of 4 KiB, up to group 27.
	got = Copies(16 << 30)
	for _, block := range []int64{32768, 98304, 163840, 229376, 294912, 819200, 884736, 1605632, 2654208} {
		if !slices.Contains(got, block*4096) {
			t.Errorf("block %d is missing in %v", block, got)
		}
	}
	if got := Copies(1 << 42); len(got) > 100 || slices.Max(got) >= 1<<42 {
		t.Errorf("%d places on 4 TiB, the last at %d", len(got), slices.Max(got))
	}
	if got := Copies(mib); len(got) != 0 {
		t.Errorf("on 1 MiB: %v", got)
	}
}
