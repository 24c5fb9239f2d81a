package lab

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/pkg/secureboot"
)

// Secure builds the image under test with the keys of Secure Boot in a directory, and
// returns the suite for it.
func (s *Suite) Secure(ctx context.Context, keys string) (*Suite, error) {
	out := filepath.Join(s.Out, s.Board, "secure")
	_, err := image.Build(ctx, image.Options{RepoRoot: s.Root, Board: s.Board, Out: out, Log: io.Discard, SecureBootKeys: keys})
	if err != nil {
		return nil, err
	}
	on := s.with(filepath.Join(out, image.DiskImage), s.Board)
	on.Slower = s.Slower
	return on, nil
}

// SignedOSFile signs an OS file for Secure Boot, in a file beside it.
func (s *Suite) SignedOSFile(f OSFile, by *secureboot.Signer) (OSFile, error) {
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return OSFile{}, err
	}
	if data, err = secureboot.Sign(data, by); err != nil {
		return OSFile{}, err
	}
	path := strings.TrimSuffix(f.Path, ".efi") + "-signed.efi"
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return OSFile{}, err
	}
	return s.openOSFile(path, f.Version)
}
