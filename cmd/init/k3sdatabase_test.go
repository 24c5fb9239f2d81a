package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// makeFiles makes empty files below a new folder, which it returns.
func makeFiles(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestChooseDatabase walks the life of a founder and of a server that joins,
// from the files that K3s leaves behind.
func TestChooseDatabase(t *testing.T) {
	const sqlite, wal = "db/state.db", "db/etcd/member/wal/0.wal"
	for _, tt := range []struct {
		name           string
		files          []string
		founder, begun bool
		servers        int
		want           k3sDatabase
	}{
		{"founder, first start", nil, true, false, 1, sqliteDatabase},
		{"founder, first start cut short", nil, true, false, 1, sqliteDatabase},
		{"founder, alone", []string{sqlite}, true, true, 1, sqliteDatabase},
		{"founder, power cut before the mark", []string{sqlite}, true, false, 1, sqliteDatabase},
		{"founder, a second server", []string{sqlite}, true, true, 2, beginEtcd},
		{"founder, first start with a second server", nil, true, false, 2, beginEtcd},
		{"founder, half migrated", []string{sqlite, wal, "db/migrating"}, true, true, 2, beginEtcd},
		{"founder, half migrated, the second gone", []string{sqlite, wal, "db/migrating"}, true, true, 1, sqliteDatabase},
		{"founder, migrated, the mark left", []string{"db/state.db.migrated", wal, "db/migrating"}, true, true, 2, memberOfEtcd},
		{"founder, migrated", []string{"db/state.db.migrated", wal}, true, true, 2, memberOfEtcd},
		{"founder, alone again", []string{"db/state.db.migrated", wal}, true, true, 1, memberOfEtcd},
		{"founder, its data lost", nil, true, true, 3, joinEtcd},
		{"founder, its data lost, alone", nil, true, true, 1, sqliteDatabase},
		{"founder, removed", []string{wal, "db/etcd/tombstone"}, true, true, 3, joinEtcd},
		{"second, first start", nil, false, false, 2, joinEtcd},
		{"second, joining cut short", []string{"db/etcd/name"}, false, false, 2, joinEtcd},
		{"second, member", []string{"db/etcd/name", wal}, false, false, 2, memberOfEtcd},
		{"second, with SQLite of an older life", []string{sqlite}, false, false, 2, joinEtcd},
		{"second, removed", []string{wal, "db/etcd/tombstone"}, false, false, 2, joinEtcd},
	} {
		d, err := readDatabaseFiles(makeFiles(t, tt.files...))
		if err != nil {
			t.Fatal(err)
		}
		if got := chooseDatabase(d, tt.founder, tt.begun, tt.servers); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestReadDatabaseFilesFails(t *testing.T) {
	dir := makeFiles(t, "db") // a file where a folder belongs
	if d, err := readDatabaseFiles(dir); err == nil {
		t.Errorf("%+v", d)
	}
}

func TestRemoveFromServer(t *testing.T) {
	dir := makeFiles(t, "db/etcd/name", "db/etcd-backup-17/name", "db/etcd-old-18/name", "db/etcd-tmp/x", "db/state.db",
		"tls/etcd/x.key", "cred/passwd", "token", "agent-token", "manifests/x.yaml")
	left := func() []string {
		var names []string
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				rel, _ := filepath.Rel(dir, path)
				names = append(names, filepath.ToSlash(rel))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if err := removeOldDatabases(dir); err != nil {
		t.Fatal(err)
	}
	if got, want := left(), []string{"agent-token", "cred/passwd", "db/etcd/name", "db/state.db", "manifests/x.yaml", "tls/etcd/x.key", "token"}; !slices.Equal(got, want) {
		t.Errorf("without old databases: %q, want %q", got, want)
	}
	if err := forgetCluster(dir); err != nil {
		t.Fatal(err)
	}
	if got, want := left(), []string{"db/etcd/name", "db/state.db", "manifests/x.yaml"}; !slices.Equal(got, want) {
		t.Errorf("without the cluster: %q, want %q", got, want)
	}
}
