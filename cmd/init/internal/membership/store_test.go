package membership

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/tpmseal"
)

// chip is a TPM that knows what it has sealed; err is what it says to everything.
type chip struct {
	seed byte
	err  error
}

func (c chip) Seal(secret []byte) ([]byte, error) {
	return append([]byte{c.seed}, c.mask(secret)...), c.err
}

func (c chip) Unseal(sealed []byte) ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	if sealed[0] != c.seed {
		return nil, tpmseal.ErrOther
	}
	return c.mask(sealed[1:]), nil
}

func (c chip) mask(b []byte) []byte {
	b = bytes.Clone(b)
	for i := range b {
		b[i] ^= c.seed
	}
	return b
}

// TestLocalKey: the node's key is opened by a file, or by the TPM that was there when
// it was made, and by nothing else.
func TestLocalKey(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	open := func(dir string, s Sealer) (*store, error) {
		return openStore(dir, s, time.Now(), time.Now, log)
	}
	files := func(dir string) string {
		var names []string
		for _, name := range []string{localFile, sealedFile} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				names = append(names, name)
			}
		}
		return strings.Join(names, " ")
	}
	for _, tt := range []struct {
		name  string
		first Sealer // when the key was made
		files string
		then  Sealer
		want  string // of the error; empty when the key is the same
	}{
		{"without a TPM", nil, localFile, nil, ""},
		{"with one", chip{seed: 7}, sealedFile, chip{seed: 7}, ""},
		{"with one later", nil, localFile, chip{seed: 7}, ""},
		{"with one that cannot", chip{seed: 7, err: errors.New("locked out")}, localFile, chip{seed: 7}, ""},
		{"without it later", chip{seed: 7}, sealedFile, nil, "this machine shows none"},
		{"with another one", chip{seed: 7}, sealedFile, chip{seed: 9}, "has not sealed it"},
		{"with one that fails", chip{seed: 7}, sealedFile, chip{seed: 7, err: fs.ErrNotExist}, "cannot be unsealed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			first, err := open(dir, tt.first)
			if err != nil {
				t.Fatal(err)
			}
			if got := files(dir); got != tt.files {
				t.Errorf("the store has %s, want %s", got, tt.files)
			}
			before, err := os.ReadFile(filepath.Join(dir, keyFile))
			if err != nil {
				t.Fatal(err)
			}
			again, err := open(dir, tt.then)
			switch {
			case tt.want == "" && (err != nil || again.key.Public() != first.key.Public()):
				t.Errorf("opened again: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "reset the node")):
				t.Errorf("opened again: %v, want %q", err, tt.want)
			}
			after, err := os.ReadFile(filepath.Join(dir, keyFile))
			if err != nil || !bytes.Equal(before, after) || files(dir) != tt.files {
				t.Errorf("the store has changed: %v, %s", err, files(dir))
			}
		})
	}
}
