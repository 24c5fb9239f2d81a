package update_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/bootenv"
	"github.com/digital-mycelium/os/pkg/update/fatslot"
)

// A machine whose boot loader is GRUB gets a release into its idle slot, and is to be
// rebooted to try it.
func Example() {
	dir, err := os.MkdirTemp("", "update")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	grubenv := filepath.Join(dir, "grubenv")
	block := "# GRUB Environment Block\nslot=A\n"
	if err := os.WriteFile(grubenv, []byte(block+strings.Repeat("#", 1024-len(block))), 0o600); err != nil {
		panic(err)
	}
	slots := map[string]update.Content{}
	for _, name := range []string{"A", "B"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			panic(err)
		}
		defer f.Close()
		slots[name] = &fatslot.Slot{Disk: f, Bytes: 36 << 20, Label: name, File: "os.img"}
	}
	u, next, err := update.Boot(update.Config{
		Firmware: &bootenv.Firmware{Store: bootenv.GRUB(grubenv), Started: "A", Slots: []string{"A", "B"}},
		Journal:  update.FileJournal(filepath.Join(dir, "update.json")),
		Slots:    slots,
		Release:  update.Release{Version: "1.0.0"},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("after the boot:", next)

	file := "a whole operating system"
	sum := sha256.Sum256([]byte(file))
	release := update.Release{Version: "1.1.0", Digest: hex.EncodeToString(sum[:]), Size: int64(len(file))}
	if err := u.Install(context.Background(), release, strings.NewReader(file), false, false); err != nil {
		panic(err)
	}
	if err := u.Try(context.Background()); err != nil {
		panic(err)
	}
	b := u.State().Slot("B")
	fmt.Println("slot B:", b.Phase, b.Release)
	// Output:
	// after the boot: nothing
	// slot B: trial 1.1.0
}
