package mount

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPlanOfCommandLine(t *testing.T) {
	tests := []struct {
		name string
		args string
		want []Call
	}{
		{
			"the kubelet's tmpfs", "-t tmpfs -o size=64m,noswap tmpfs /var/x",
			[]Call{{Source: "tmpfs", Target: "/var/x", Type: "tmpfs", Data: "size=64m,noswap"}},
		},
		{
			"the kubelet's bind of a sub path", "--no-canonicalize -o bind /proc/1/fd/7 /var/x",
			[]Call{{Source: "/proc/1/fd/7", Target: "/var/x", Flags: unix.MS_BIND}},
		},
		{
			"the kubelet's remount after it", "--no-canonicalize -o bind,remount,ro,relatime /a /b",
			[]Call{{Source: "/a", Target: "/b", Flags: unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_RELATIME}},
		},
		{
			"bind with flags takes two calls", "-o bind,ro /a /b",
			[]Call{
				{Source: "/a", Target: "/b", Flags: unix.MS_BIND},
				{Target: "/b", Flags: unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY},
			},
		},
		{
			"recursive bind, propagation", "--rbind --make-rshared /a /b",
			[]Call{
				{Source: "/a", Target: "/b", Flags: unix.MS_BIND | unix.MS_REC},
				{Target: "/b", Flags: unix.MS_SHARED | unix.MS_REC},
			},
		},
		{
			"propagation alone", "--make-private /b",
			[]Call{{Target: "/b", Flags: unix.MS_PRIVATE}},
		},
		{
			"the last of two opposites counts", "-t ext4 -o ro,defaults,rw,nosuid,x-y=1 /dev/vda /b",
			[]Call{{Source: "/dev/vda", Target: "/b", Type: "ext4", Flags: unix.MS_NOSUID}},
		},
		{
			"remount by target alone", "-o remount,ro /b",
			[]Call{{Target: "/b", Flags: unix.MS_REMOUNT | unix.MS_RDONLY}},
		},
		{
			"quoted comma", `-text4 -ocontext="a,b",ro /dev/vda /b`,
			[]Call{{Source: "/dev/vda", Target: "/b", Type: "ext4", Flags: unix.MS_RDONLY, Data: `context="a,b"`}},
		},
		{
			"operands after --", "-t tmpfs -- -odd /b",
			[]Call{{Source: "-odd", Target: "/b", Type: "tmpfs"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseMount(strings.Fields(tt.args))
			if err != nil {
				t.Fatal(err)
			}
			if got := Plan(r); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("mount %s\n got %+v\nwant %+v", tt.args, got, tt.want)
			}
		})
	}
}

func TestParseMountRefuses(t *testing.T) {
	for _, args := range []string{"", "-t", "-o", "/only-one", "-a", "-fv x y", "--bogus a b", "-o loop a b", "a b c", "-t ext4 /b"} {
		if r, err := ParseMount(strings.Fields(args)); err == nil {
			t.Errorf("mount %s: want an error, have %+v", args, r)
		}
	}
}

func TestParseUmount(t *testing.T) {
	tests := []struct {
		args string
		want Unmount
		ok   bool
	}{
		{"/a", Unmount{Targets: []string{"/a"}}, true},
		{"-f /a", Unmount{Targets: []string{"/a"}, Flags: unix.MNT_FORCE}, true},
		{"-l -f /a /b", Unmount{Targets: []string{"/a", "/b"}, Flags: unix.MNT_FORCE | unix.MNT_DETACH}, true},
		{"-- -a", Unmount{Targets: []string{"-a"}}, true},
		{"", Unmount{}, false},
		{"-R /a", Unmount{}, false},
	}
	for _, tt := range tests {
		got, err := ParseUmount(strings.Fields(tt.args))
		if (err == nil) != tt.ok || err == nil && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("umount %s: got %+v, %v", tt.args, got, err)
		}
	}
}

func TestUmountSaysNotMounted(t *testing.T) {
	var out strings.Builder
	if status := UmountMain([]string{t.TempDir()}, &out); status == exitOK {
		t.Fatal("status 0 for a directory that is no mount point")
	}
	// Without the right to unmount at all the kernel answers EPERM before EINVAL.
	if unix.Geteuid() == 0 && !strings.Contains(out.String(), "not mounted") {
		t.Errorf("the kubelet looks for \"not mounted\" in %q", out.String())
	}
}

func TestBlockTypes(t *testing.T) {
	got := BlockTypes("nodev\tsysfs\nnodev\ttmpfs\n\text4\n\tvfat\n")
	if want := []string{"ext4", "vfat"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParseMount(f *testing.F) {
	f.Add("-t tmpfs -o size=1m tmpfs /x")
	f.Add("--make-rshared /x")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := ParseMount(strings.Fields(line))
		if err != nil {
			return
		}
		if r.Target == "" && !strings.Contains(line, "--target") {
			t.Errorf("accepted %q without a target", line)
		}
		if len(Plan(r)) == 0 {
			t.Errorf("accepted %q, which does nothing", line)
		}
	})
}
