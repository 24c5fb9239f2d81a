// Package board holds what is known of each board as data: one folder per
// board with a board.yaml and the kernel configuration fragments that it
// names. A board is a row of data, never a branch in code.
package board

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/digital-mycelium/os/pkg/gpt"
)

//go:embed */board.yaml
var files embed.FS

// Board describes one board.
type Board struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	// Arch is Go's name of the architecture.
	Arch   string `yaml:"arch"`
	Kernel Kernel `yaml:"kernel"`
	// CommandLine is the kernel's.
	CommandLine string   `yaml:"commandLine"`
	Firmware    Firmware `yaml:"firmware"`
	OSFile      OSFile   `yaml:"osFile"`
	// WiFi is what the board needs for Wi-Fi, if it can have it.
	WiFi *WiFi `yaml:"wifi"`
	Disk Disk  `yaml:"disk"`
}

// OSFile says how large the board's OS file may be (a larger one is not built),
// and how large it should be at most.
type OSFile struct {
	LimitMiB int64 `yaml:"limitMiB"`
	GoalMiB  int64 `yaml:"goalMiB"`
}

// Kernel says how the board's kernel is built.
type Kernel struct {
	// Source is the package of the prerequisites' lock that holds the source.
	Source string `yaml:"source"`
	// Fragments are configuration files relative to board/; later ones win.
	Fragments []string `yaml:"fragments"`
	// Target is the make target, Image what it leaves in the build tree.
	Target string `yaml:"target"`
	Image  string `yaml:"image"`
	// Patches are diffs of the source relative to board/, in their order.
	Patches []string `yaml:"patches"`
	// DeviceTrees are built too, relative to the architecture's boot/dts.
	DeviceTrees []string `yaml:"deviceTrees"`
}

// Firmware says by which ways machines of the board start the OS file. A disk
// image serves all of the ways that its board names.
type Firmware struct {
	EFI *EFI `yaml:"efi"`
	// BIOS comes on top of EFI, which the OS file's format is of.
	BIOS *BIOS `yaml:"bios"`
	// UBoot is on the disk where the machine has no firmware of its own; it is what
	// offers EFI then.
	UBoot *UBoot `yaml:"uboot"`
	// RaspberryPi takes EFI's place.
	RaspberryPi *RaspberryPi `yaml:"raspberryPi"`
}

// EFI is UEFI: the firmware starts systemd-boot, which starts a slot's OS file.
type EFI struct {
	// Stub is the boot stub that becomes the OS file's head, Loader the boot loader.
	Stub   PackageFile `yaml:"stub"`
	Loader PackageFile `yaml:"loader"`
}

// PackageFile is a file of a package of the prerequisites' lock.
type PackageFile struct {
	Package string `yaml:"package"`
	// Path is relative, without a leading slash.
	Path string `yaml:"path"`
	// Install is where it goes on the EFI system partition.
	Install string `yaml:"install,omitempty"`
}

// Disk is the disk image's layout.
type Disk struct {
	// StartMiB is where the first partition may begin: 1 unless something stands
	// before it.
	StartMiB   int64       `yaml:"startMiB"`
	Partitions []Partition `yaml:"partitions"`
}

// Partition is one partition of the disk image.
type Partition struct {
	Label string `yaml:"label"`
	// Type is a name that gpt.TypeByName knows.
	Type    string `yaml:"type"`
	SizeMiB int64  `yaml:"sizeMiB"`
}

// Names returns the names of all boards, sorted.
func Names() []string {
	paths, err := fs.Glob(files, "*/board.yaml")
	if err != nil {
		panic(err) // a malformed pattern, which it is not
	}
	names := make([]string, 0, len(paths))
	for _, p := range paths {
		names = append(names, path.Dir(p))
	}
	return names
}

// Load returns the board called name; one with its optional Wi-Fi is called so with
// "-wifi" behind.
func Load(name string) (*Board, error) {
	folder := strings.TrimSuffix(name, wifiSuffix)
	data, err := files.ReadFile(folder + "/board.yaml")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, fmt.Errorf("no board %q; there are: %s", name, strings.Join(Names(), ", "))
	}
	if err != nil {
		return nil, err
	}
	b, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("board/%s/board.yaml: %w", folder, err)
	}
	if b.Name != folder {
		return nil, fmt.Errorf("board/%s/board.yaml: the name in it is %q", folder, b.Name)
	}
	return b, b.addWiFi(name)
}

// Parse reads a board description. An unknown field is an error with its line.
func Parse(data []byte) (*Board, error) {
	var b Board
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&b); err != nil {
		return nil, err
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one YAML document")
	}
	return &b, b.validate()
}

// validate returns everything that is wrong with b, one error a line.
func (b *Board) validate() error {
	var errs []error
	for _, f := range []struct{ name, value string }{
		{"name", b.Name},
		{"kernel.source", b.Kernel.Source},
		{"kernel.target", b.Kernel.Target},
		{"kernel.image", b.Kernel.Image},
		{"commandLine", b.CommandLine},
	} {
		if strings.TrimSpace(f.value) == "" {
			errs = append(errs, fmt.Errorf("%s is empty", f.name))
		}
	}
	if b.Arch != "amd64" && b.Arch != "arm64" {
		errs = append(errs, fmt.Errorf("arch %q: want amd64 or arm64", b.Arch))
	}
	if len(b.Kernel.Fragments) == 0 {
		errs = append(errs, errors.New("kernel.fragments is empty"))
	}
	if b.OSFile.GoalMiB <= 0 || b.OSFile.LimitMiB < b.OSFile.GoalMiB || b.OSFile.LimitMiB > 512 {
		errs = append(errs, fmt.Errorf("osFile: goalMiB %d and limitMiB %d: want 0 < goal <= limit <= 512", b.OSFile.GoalMiB, b.OSFile.LimitMiB))
	}
	errs = append(errs, validPaths(append([]string{b.Kernel.Image}, b.Kernel.Fragments...)...)...)
	errs = append(errs, validPaths(append(append([]string(nil), b.Kernel.Patches...), b.Kernel.DeviceTrees...)...)...)
	errs = append(errs, b.Firmware.validate()...)
	if b.WiFi != nil {
		errs = append(errs, b.WiFi.validate()...)
	}
	if b.Firmware.BIOS != nil {
		errs = append(errs, b.Firmware.BIOS.validate(b.Disk)...)
	}
	if b.Firmware.UBoot != nil {
		errs = append(errs, b.Firmware.UBoot.validate(b.Disk.StartMiB)...)
	}
	return errors.Join(append(errs, b.Disk.validate()...)...)
}

func (f *Firmware) validate() (errs []error) {
	if (f.EFI == nil) == (f.RaspberryPi == nil) {
		return []error{errors.New("firmware: want one way to start the OS file, efi or raspberryPi")}
	}
	if f.RaspberryPi != nil {
		return f.RaspberryPi.validate()
	}
	errs = append(errs, f.EFI.Stub.validate("firmware.efi.stub")...)
	errs = append(errs, f.EFI.Loader.validate("firmware.efi.loader")...)
	return append(errs, validPaths(f.EFI.Loader.Install)...)
}

// validate checks what every file of a package has; field is where it is named.
func (f PackageFile) validate(field string) (errs []error) {
	if f.Package == "" {
		errs = append(errs, fmt.Errorf("%s.package is empty", field))
	}
	return append(errs, validPaths(f.Path)...)
}

func validPaths(paths ...string) (errs []error) {
	for _, p := range paths {
		if !fs.ValidPath(p) || p == "." {
			errs = append(errs, fmt.Errorf("path %q: want a relative path without dots", p))
		}
	}
	return errs
}

func (d *Disk) validate() (errs []error) {
	if d.StartMiB < 0 || d.StartMiB > 1024 {
		errs = append(errs, fmt.Errorf("disk.startMiB %d: want 0 to 1024", d.StartMiB))
	}
	labels, types := map[string]bool{}, map[string]int{}
	for _, p := range d.Partitions {
		if _, err := gpt.TypeByName(p.Type); err != nil {
			errs = append(errs, fmt.Errorf("partition %q: %w", p.Label, err))
		}
		if p.Label == "" || labels[p.Label] {
			errs = append(errs, fmt.Errorf("partition label %q is empty or used twice", p.Label))
		}
		if p.SizeMiB <= 0 || p.SizeMiB > 1<<20 {
			errs = append(errs, fmt.Errorf("partition %q: sizeMiB %d, want 1 to %d", p.Label, p.SizeMiB, 1<<20))
		}
		labels[p.Label] = true
		types[p.Type]++
	}
	for _, want := range []string{"esp", "xbootldr", "slot", "state"} {
		if types[want] != 1 {
			errs = append(errs, fmt.Errorf("%d partitions of type %s, want one", types[want], want))
		}
	}
	return errs
}
