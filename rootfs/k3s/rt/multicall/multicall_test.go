package multicall

import "testing"

func TestFind(t *testing.T) {
	var called string
	table := Table{}
	for _, name := range []string{"runc", "bridge", Shim} {
		table[name] = func() { called = name }
	}
	tests := []struct {
		name string
		args []string
		want string // "" for an error
	}{
		{"by name", []string{"runc", "create"}, "runc"},
		{"by path", []string{"/libexec/cni/bridge"}, "bridge"},
		{"shim by name", []string{"/bin/" + Shim, "-namespace", "k8s.io", "start"}, Shim},
		{"shim that starts itself", []string{"/bin/rt", "-namespace", "k8s.io", "-id", "x"}, Shim},
		{"a known name wins over -namespace", []string{"runc", "-namespace"}, "runc"},
		{"unknown", []string{"/bin/rt"}, ""},
		{"unknown with other arguments", []string{"/bin/rt", "--version"}, ""},
		{"nothing", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			called = ""
			program, err := table.Find(tt.args)
			if err == nil {
				program()
			}
			if called != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("Find(%q) = %q, %v; want %q", tt.args, called, err, tt.want)
			}
		})
	}
}
