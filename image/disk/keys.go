package disk

import (
	"path"
	"slices"

	"github.com/digital-mycelium/os/pkg/secureboot"
)

// KeysDir is where systemd-boot looks on the EFI system partition for what a firmware in
// setup mode is to take over. The name "auto" is what it calls keys that it enrols by
// itself (loader.conf(5), secure-boot-enroll).
const KeysDir = "loader/keys/auto"

// enroll has keys enrolled by themselves in virtual machines, and by an entry of the boot
// menu, which its owner chooses, on hardware: there they can keep what the maker has
// signed, a graphics card's firmware, from running.
const enroll = "secure-boot-enroll if-safe\n"

// keyFiles are the files of the variables' updates.
func keyFiles(keys map[string][]byte) (files []bootFile) {
	for _, name := range secureboot.Names() {
		if update := keys[name]; update != nil {
			files = append(files, bootFile{path.Join(KeysDir, secureboot.UpdateFile(name)), update})
		}
	}
	return files
}

// loaderConfig is systemd-boot's configuration.
func loaderConfig(keys []bootFile) []byte {
	if len(keys) == 0 {
		return LoaderConf
	}
	return append(slices.Clone(LoaderConf), enroll...)
}
