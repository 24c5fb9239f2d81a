package image

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/pkg/secureboot"
)

// secureBoot signs what a firmware starts. A nil one leaves it as it is.
type secureBoot struct {
	signer  *secureboot.Signer
	updates map[string][]byte
}

// loadSecureBoot reads the keys of a directory; none for an empty name, and for boards
// whose firmware knows no signatures of this kind.
func loadSecureBoot(dir string, b *board.Board) (*secureBoot, error) {
	if dir == "" || b.Firmware.EFI == nil {
		return nil, nil
	}
	signer, err := secureboot.LoadSigner(dir, secureboot.DB)
	if err != nil {
		return nil, fmt.Errorf("keys of Secure Boot: %w: make some with `mycelium image secureboot-keys`", err)
	}
	updates, err := secureboot.LoadUpdates(dir)
	if err != nil {
		return nil, fmt.Errorf("keys of Secure Boot: %w", err)
	}
	return &secureBoot{signer, updates}, nil
}

// sign returns an EFI program with a signature.
func (s *secureBoot) sign(program []byte) ([]byte, error) {
	if s == nil {
		return program, nil
	}
	signed, err := secureboot.Sign(program, s.signer)
	if err != nil {
		return nil, fmt.Errorf("sign for Secure Boot: %w", err)
	}
	return signed, nil
}

// keys are the updates of the firmware's variables.
func (s *secureBoot) keys() map[string][]byte {
	if s == nil {
		return nil
	}
	return s.updates
}

// signLoader replaces the boot loader by a signed copy.
func (b *builder) signLoader(p *parts) error {
	if b.secure == nil {
		return nil
	}
	program, err := os.ReadFile(p.loader.File)
	if err != nil {
		return err
	}
	if program, err = b.secure.sign(program); err != nil {
		return fmt.Errorf("%s: %w", p.loader.Name, err)
	}
	p.loader.File = filepath.Join(b.work, "loader.efi")
	return os.WriteFile(p.loader.File, program, 0o644)
}
