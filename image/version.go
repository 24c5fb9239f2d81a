package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Version says which source an image is made from.
type Version struct {
	// Name is the release ("1.2.0") when the commit carries the tag v1.2.0, else
	// "0.0.0-" with the commit's time and the beginning of its hash; with
	// "+dirty" when the work tree differs from the commit.
	Name string
	// Time is the commit's, or $SOURCE_DATE_EPOCH.
	Time time.Time
}

// SourceVersion returns the version of the work tree at repoRoot.
func SourceVersion(ctx context.Context, repoRoot string) (Version, error) {
	head, err := git(ctx, repoRoot, "log", "-1", "--format=%H %ct", "HEAD")
	if err != nil {
		return Version{}, fmt.Errorf("find the commit that is built (a git checkout is needed): %w", err)
	}
	hash, stamp, _ := strings.Cut(head, " ")
	if len(hash) < 12 {
		return Version{}, fmt.Errorf("find the commit that is built: git says %q", head)
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return Version{}, fmt.Errorf("time of commit %s: %w", hash, err)
	}
	committed := time.Unix(seconds, 0).UTC()
	v := Version{Name: fmt.Sprintf("0.0.0-%s-%s", committed.Format("20060102150405"), hash[:12]), Time: committed}
	if tag, err := git(ctx, repoRoot, "describe", "--tags", "--exact-match", "--match", "v[0-9]*", "HEAD"); err == nil {
		v.Name = strings.TrimPrefix(tag, "v")
	}
	changes, err := git(ctx, repoRoot, "status", "--porcelain")
	if err != nil {
		return Version{}, fmt.Errorf("see whether the work tree is clean: %w", err)
	}
	if changes != "" {
		v.Name += "+dirty"
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil || seconds < 0 {
			return Version{}, fmt.Errorf("SOURCE_DATE_EPOCH %q: want seconds since 1970", epoch)
		}
		v.Time = time.Unix(seconds, 0).UTC()
	}
	return v, nil
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// module is the line in go.mod that marks the repository's root.
const module = "module github.com/digital-mycelium/os"

// RepoRoot returns the repository's root: dir or the nearest directory above it
// that holds the project's go.mod.
func RepoRoot(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := abs; ; at = filepath.Dir(at) {
		b, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && strings.HasPrefix(string(b), module+"\n") {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not inside the project's source: images are built from a checkout of it", abs)
		}
	}
}
