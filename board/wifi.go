package board

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// wifiSuffix ends the name of a board with its optional Wi-Fi part.
const wifiSuffix = "-wifi"

// WiFi is what a board needs for its wireless cards.
type WiFi struct {
	// Always says that every OS file of the board has the part. Otherwise it is in
	// those of another board, whose name ends in "-wifi": an update for one must not
	// end up on a machine of the other, which might lose its network by it.
	Always bool `yaml:"always"`
	// Fragments are configuration files relative to board/, on top of the kernel's.
	Fragments []string `yaml:"fragments"`
	// Firmware are the files that the drivers load.
	Firmware []DriverFirmware `yaml:"firmware"`
}

// DriverFirmware are files of a package of the prerequisites' lock that drivers of
// the kernel load.
type DriverFirmware struct {
	Package string `yaml:"package"`
	// License is an SPDX licence expression. The package's copyright file, which has
	// the texts, goes into the OS file with the firmware.
	License string `yaml:"license"`
	// Files are patterns (path.Match) of paths below the package's lib/firmware.
	// Each matches at least one file.
	Files []string `yaml:"files"`
	// Fixed says that the cards are there when the machine starts or not at all: what
	// no driver has read by then is not kept in memory.
	Fixed bool `yaml:"fixed"`
	// Rename are the names that files have below /lib/firmware, by the package's.
	Rename map[string]string `yaml:"rename"`
}

// HasWiFi reports whether the board's OS file has the part for Wi-Fi.
func (b *Board) HasWiFi() bool {
	return b.WiFi != nil && (b.WiFi.Always || strings.HasSuffix(b.Name, wifiSuffix))
}

// WithWiFi returns the name of the board with Wi-Fi: the board's own where the part
// is always there.
func WithWiFi(name string) (string, error) {
	b, err := Load(name)
	if err != nil {
		return "", err
	}
	switch {
	case b.WiFi == nil:
		return "", fmt.Errorf("the board %s has no part for Wi-Fi; there are: %s", name, strings.Join(wifiNames(), ", "))
	case b.HasWiFi():
		return name, nil
	}
	return name + wifiSuffix, nil
}

// wifiNames returns the boards that can have Wi-Fi.
func wifiNames() []string {
	return slices.DeleteFunc(Names(), func(name string) bool {
		b, err := Load(name)
		return err != nil || b.WiFi == nil
	})
}

// addWiFi gives b, which was read from the files of another board, its name and
// whatever Wi-Fi needs of the kernel.
func (b *Board) addWiFi(name string) error {
	if name != b.Name {
		if b.WiFi == nil || b.WiFi.Always {
			return fmt.Errorf("the board %s has no optional part for Wi-Fi", b.Name)
		}
		b.Name = name
		b.Description += ", with Wi-Fi"
	}
	if b.HasWiFi() {
		b.Kernel.Fragments = slices.Concat(b.Kernel.Fragments, b.WiFi.Fragments)
	}
	return nil
}

func (w *WiFi) validate() (errs []error) {
	if len(w.Fragments) == 0 || len(w.Firmware) == 0 {
		errs = append(errs, errors.New("wifi: fragments and firmware are both required"))
	}
	errs = append(errs, validPaths(w.Fragments...)...)
	for _, f := range w.Firmware {
		if f.Package == "" || f.License == "" || len(f.Files) == 0 {
			errs = append(errs, fmt.Errorf("wifi.firmware %q: package, license and files are all required", f.Package))
		}
		errs = append(errs, validPaths(f.Files...)...)
		for _, pattern := range f.Files {
			if _, err := path.Match(pattern, ""); err != nil {
				errs = append(errs, fmt.Errorf("wifi.firmware %s: pattern %q: %w", f.Package, pattern, err))
			}
		}
		for _, to := range f.Rename {
			errs = append(errs, validPaths(to)...)
		}
	}
	return errs
}
