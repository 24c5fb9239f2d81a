package pi

import "fmt"

// Model is a model of the Raspberry Pi.
type Model struct {
	// Name is what this package calls it.
	Name string
	// Filters are the model filters of config.txt that it passes, and BoardType is the
	// value of the filter board-type.
	Filters   []string
	BoardType int
	// EEPROM says that it has its boot loader there; others read bootcode.bin from the
	// first partition.
	EEPROM bool
	// Firmware are the files that a partition must have for it.
	Firmware []string
	// DeviceTree are the names that the firmware tries when config.txt names none.
	DeviceTree []string
}

// Models are the models that an image is for.
func Models() []Model {
	start, start4 := []string{"start.elf", "fixup.dat"}, []string{"start4.elf", "fixup4.dat"}
	return []Model{
		{"pi3", []string{"pi3"}, 0x08, false, start, []string{"bcm2710-rpi-3-b.dtb"}},
		{"pi3b+", []string{"pi3", "pi3+"}, 0x0d, false, start, []string{"bcm2710-rpi-3-b-plus.dtb"}},
		{"pi3a+", []string{"pi3", "pi3+"}, 0x0e, false, start, []string{"bcm2710-rpi-3-b-plus.dtb"}},
		{"zero2w", []string{"pi0", "pi0w", "pi02"}, 0x12, false, start, []string{"bcm2710-rpi-zero-2-w.dtb"}},
		{"pi4", []string{"pi4"}, 0x11, true, start4, []string{"bcm2711-rpi-4-b.dtb"}},
		{"pi400", []string{"pi4", "pi400"}, 0x13, true, start4, []string{"bcm2711-rpi-400.dtb"}},
		{"cm4", []string{"pi4", "cm4"}, 0x14, true, start4, []string{"bcm2711-rpi-cm4.dtb"}},
		{"pi5", []string{"pi5"}, 0x17, true, nil, []string{"bcm2712-rpi-5-b.dtb"}},
		{"pi5d0", []string{"pi5"}, 0x17, true, nil, []string{"bcm2712d0-rpi-5-b.dtb", "bcm2712-rpi-5-b.dtb"}},
	}
}

// FindModel returns the model called name.
func FindModel(name string) (Model, error) {
	for _, m := range Models() {
		if m.Name == name {
			return m, nil
		}
	}
	return Model{}, fmt.Errorf("no Raspberry Pi %q", name)
}
