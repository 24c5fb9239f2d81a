package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/digital-mycelium/os/pkg/durable"
)

// K3s and the libraries that it consists of write certificates, keys and
// credentials without waiting for the disk. After a power cut such a file may be
// empty or full of zero bytes, and K3s takes what exists for good: it ends with
// an error at each start from then on. What can be made anew, or is kept in the
// database as well, is removed when it is torn; the two secrets of which neither
// is true are made here, durably, before K3s starts for the first time.

// Secrets of K3s that lie on DATA, with the database that they belong to.
const (
	k3sTokenPath        = "/var/lib/mycelium/k3s-token"         // the database's bootstrap data is encrypted with it
	k3sNodePasswordPath = "/var/lib/mycelium/k3s-node-password" // the databases keep its hash
)

// k3sNodePasswordState is the same password on STATE: a node that loses one of
// the two still is who it was, to its own database and to those of others.
const k3sNodePasswordState = "/state/mycelium/k3s-node-password"

// Tokens that are made or asked for anew at each start, in memory.
const (
	k3sAgentTokenPath = "/run/mycelium/k3s-agent-token" // of a server, for its agents
	k3sJoinTokenPath  = "/run/mycelium/k3s-join-token"  // of another server, for this node
)

// k3sNodePassword is where K3s reads the node's password.
const k3sNodePassword = k3sConfigDir + "/node/password"

// tornFolders hold text files alone, here and in the folders below. etcd's
// folder is none of them: etcd checks its own files, and some that K3s has
// there are empty on purpose.
func tornFolders() []string {
	return []string{k3sData + "/server/tls", k3sData + "/server/cred", k3sData + "/agent/etc", "/var/lib/kubelet/pki"}
}

// tornFiles match single files of that kind.
func tornFiles() []string {
	return []string{k3sData + "/server/*", k3sData + "/agent/*"}
}

// prepareK3sFiles makes K3s' files fit for the start of a server. One that
// joins has adopted the cluster's token before.
func prepareK3sFiles(log *slog.Logger) error {
	token, err := loadSecret(k3sTokenPath)
	if err == nil {
		err = placeToken(k3sAgentTokenPath, agentToken(token))
	}
	if err != nil {
		return fmt.Errorf("token of the cluster: %w", err)
	}
	if err := removeOldDatabases(k3sServerDir); err != nil {
		return err
	}
	return prepareAgentFiles(log)
}

// prepareAgentFiles makes K3s' files fit for the start of an agent, which a
// server is as well.
func prepareAgentFiles(log *slog.Logger) error {
	password, err := loadTwice(k3sNodePasswordPath, k3sNodePasswordState)
	if err != nil {
		return fmt.Errorf("password of the node: %w", err)
	}
	if err := placeNodePassword([]byte(password + "\n")); err != nil {
		return fmt.Errorf("password of the node: %w", err)
	}
	return removeTorn(log, tornFolders(), tornFiles())
}

// placeNodePassword writes the password where K3s reads it, unless it is there.
func placeNodePassword(want []byte) error {
	if have, err := os.ReadFile(k3sNodePassword); err == nil && bytes.Equal(have, want) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(k3sNodePassword), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(k3sNodePassword, want, 0o600)
}

// loadTwice reads a secret that is kept in two places, and restores the one that
// is missing. The first place counts.
func loadTwice(first, second string) (string, error) {
	from, to := first, second
	if _, err := os.Stat(first); errors.Is(err, fs.ErrNotExist) {
		from, to = second, first
	}
	secret, err := loadSecret(from)
	if err != nil {
		return "", err
	}
	if have, err := os.ReadFile(to); err == nil && strings.TrimSpace(string(have)) == secret {
		return secret, nil
	}
	return secret, durable.WriteFile(to, []byte(secret+"\n"), 0o600)
}

// loadSecret reads a secret of 32 hexadecimal digits, or makes it. One that is
// there and is none is an error: to make another would lock the node out of its
// own cluster.
func loadSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		if s := strings.TrimSpace(string(b)); hexPattern.MatchString(s) {
			return s, nil
		}
		return "", fmt.Errorf("%s does not hold 32 hexadecimal digits: restore it from a backup, or reset the node", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	s := newHex()
	return s, durable.WriteFile(path, []byte(s+"\n"), 0o600)
}

// removeTorn removes the torn files below folders and among those that the
// globs match.
func removeTorn(log *slog.Logger, folders, globs []string) error {
	look := func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // before the first start, or K3s' own doing
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		is, err := torn(path)
		if err != nil || !is {
			return err
		}
		log.Warn("a power cut left this file without content: K3s makes it again", "file", path)
		return os.Remove(path)
	}
	for _, dir := range folders {
		if err := filepath.WalkDir(dir, look); err != nil {
			return fmt.Errorf("look for torn files: %w", err)
		}
	}
	for _, glob := range globs {
		paths, err := filepath.Glob(glob)
		if err != nil {
			return fmt.Errorf("look for torn files: %w", err)
		}
		for _, path := range paths {
			info, err := os.Lstat(path)
			if err == nil {
				err = look(path, fs.FileInfoToDirEntry(info), nil)
			}
			if err != nil {
				return fmt.Errorf("look for torn files: %w", err)
			}
		}
	}
	return nil
}

// torn reports whether a text file is empty or has zero bytes.
func torn(path string) (bool, error) {
	b, err := os.ReadFile(path)
	return len(b) == 0 || bytes.IndexByte(b, 0) >= 0, err
}
