package node

// The patched kine uses it; the import keeps it in go.mod.
import _ "modernc.org/sqlite"
