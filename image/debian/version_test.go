package debian

import "testing"

func TestCompareVersions(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"1.0", "1.0", 0},
		{"6.12.107-1", "6.12.94-1", 1},
		{"6.12.95-1~bpo12+1", "6.12.95-1", -1},
		{"1.47.2-3+b12", "1.47.2-3", 1},
		{"2:6.3.0+dfsg-3", "6.3.0", 1},
		{"1.0~rc1", "1.0", -1},
		{"1.0~~", "1.0~", -1},
		{"1.0a", "1.0+", -1},
		{"0:1", "1", 0},
		{"1.010", "1.10", 0},
		{"20230311+deb12u1", "20250419", -1},
	}
	for _, tt := range tests {
		if got := CompareVersions(tt.a, tt.b); got != tt.want {
			t.Errorf("CompareVersions(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := CompareVersions(tt.b, tt.a); got != -tt.want {
			t.Errorf("CompareVersions(%q, %q) = %d, want %d", tt.b, tt.a, got, -tt.want)
		}
	}
}
