package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// k3sServerDir is where a server keeps its certificates and its database.
const k3sServerDir = k3sData + "/server"

// k3sBegunPath exists once this node has begun a cluster. It lies on STATE, so
// that a founder that lost DATA does not begin a second cluster beside that of the
// other servers.
const k3sBegunPath = "/state/mycelium/kubernetes-begun"

// databaseFiles is what lies in a server's data folder.
type databaseFiles struct {
	SQLite bool // a database in SQLite
	Etcd   bool // etcd's data
	// Removed says that the others removed this member: its data are worth
	// nothing, and K3s puts them aside when it joins again.
	Removed bool
	// Migrating says that SQLite's content is on its way to etcd: K3s begins
	// that again.
	Migrating bool
}

// readDatabaseFiles looks into the data folder of a server.
func readDatabaseFiles(serverDir string) (databaseFiles, error) {
	var d databaseFiles
	for name, there := range map[string]*bool{
		"state.db": &d.SQLite, "etcd/member/wal": &d.Etcd, "etcd/tombstone": &d.Removed, "migrating": &d.Migrating,
	} {
		switch _, err := os.Stat(filepath.Join(serverDir, "db", filepath.FromSlash(name))); {
		case err == nil:
			*there = true
		case !errors.Is(err, fs.ErrNotExist):
			return d, fmt.Errorf("look for the database of Kubernetes: %w", err)
		}
	}
	return d, nil
}

// chooseDatabase says how a server starts its database. servers is how many
// members of the network are servers, this one included. founder says that this
// node begins the cluster, and begun that it has done so before: a founder
// whose data are gone joins the other servers, if there are any.
//
// A server alone has SQLite, which costs less in every respect. Of two or more
// each has etcd, for good: there is no way back.
func chooseDatabase(d databaseFiles, founder, begun bool, servers int) k3sDatabase {
	half := d.Migrating && d.SQLite
	switch {
	case d.Removed:
		return joinEtcd
	case d.Etcd && !half:
		return memberOfEtcd
	case !founder || begun && !d.SQLite && servers > 1:
		return joinEtcd
	case servers > 1:
		return beginEtcd
	}
	return sqliteDatabase
}

// removeOldDatabases removes the copies of etcd's data that K3s leaves beside
// them: of a member that was removed, and of a start that was cut short.
func removeOldDatabases(serverDir string) error {
	for _, glob := range []string{"etcd-backup-*", "etcd-old-*", "etcd-tmp"} {
		paths, err := filepath.Glob(filepath.Join(serverDir, "db", glob))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("remove an old copy of the database: %w", err)
			}
		}
	}
	return nil
}

// forgetCluster removes what a server without a database knows of a cluster.
// The server that it joins gives it the certificates, and K3s ends with an
// error when it finds others that are newer.
func forgetCluster(serverDir string) error {
	for _, name := range []string{"tls", "cred", "token", "node-token", "agent-token"} {
		if err := os.RemoveAll(filepath.Join(serverDir, name)); err != nil {
			return fmt.Errorf("forget the certificates of another cluster: %w", err)
		}
	}
	return nil
}
