package k3sbuild

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Prepare lays out the patched source trees of k3s and rt in a folder that
// must not exist, as NAME/src and NAME/mod, for tests and editors.
func Prepare(ctx context.Context, repoRoot, folder string, opts Options) error {
	repoRoot, v, err := open(repoRoot)
	if err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return fmt.Errorf("prepare source trees: %w", err)
	}
	for _, p := range []program{k3sProgram(repoRoot, v, opts), rtProgram(repoRoot, v)} {
		work := filepath.Join(folder, p.name)
		if err := os.Mkdir(work, 0o755); err != nil {
			return err
		}
		if _, err := layOut(ctx, p, work); err != nil {
			return err
		}
	}
	return nil
}
