package efivar_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/digital-mycelium/os/pkg/efivar"
)

func Example() {
	dir, err := os.MkdirTemp("", "efivars")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.WriteFile(efivar.Path(dir, "SecureBoot", efivar.Global), []byte{6, 0, 0, 0, 1}, 0o600); err != nil {
		fmt.Println(err)
	}
	fmt.Println(efivar.Read(dir, "SecureBoot", efivar.Global, 64))
	// Output: [1] <nil>
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := efivar.Read(dir, "Boot0001", efivar.Global, 64); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent variable: %v", err)
	}
	for n, ok := range map[int]bool{0: false, 3: false, 4: true, 63: true, 64: false, 65: false} {
		if err := os.WriteFile(efivar.Path(dir, "Boot0001", efivar.Global), make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := efivar.Read(dir, "Boot0001", efivar.Global, 64)
		if (err == nil) != ok || ok && len(b) != n-4 {
			t.Errorf("of %d bytes: %d, %v", n, len(b), err)
		}
	}
}
