package generic

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	_ "modernc.org/sqlite"
)

func dialect(t *testing.T) *Generic {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &Generic{DB: db}
}

func TestPreparedOnce(t *testing.T) {
	d := dialect(t)
	const query = "SELECT 1 + ?"
	first := d.prepared(t.Context(), query)
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if d.prepared(t.Context(), query) != first {
				t.Error("another statement for the same query")
			}
		}()
	}
	wg.Wait()
	var sum int
	if err := first.QueryRow(2).Scan(&sum); err != nil || sum != 3 {
		t.Errorf("1 + 2 = %d, %v", sum, err)
	}
	if n := d.stmtCount.Load(); n != 1 {
		t.Errorf("%d statements, want 1", n)
	}
}

func TestNotPrepared(t *testing.T) {
	d := dialect(t)
	for _, query := range []string{"PRAGMA wal_checkpoint(FULL)", "no SQL"} {
		if d.prepared(t.Context(), query) != nil {
			t.Errorf("%q is prepared", query)
		}
	}
}

// TestPreparedAreBounded asks with more limits than there are statements.
func TestPreparedAreBounded(t *testing.T) {
	d := dialect(t)
	for i := range 2 * maxStmts {
		stmt := d.prepared(t.Context(), fmt.Sprintf("SELECT 1 LIMIT %d", i))
		if (stmt != nil) != (i < maxStmts) {
			t.Errorf("query %d is prepared: %v", i, stmt != nil)
		}
	}
	if d.prepared(t.Context(), "SELECT 1 LIMIT 0") == nil {
		t.Error("the first query is no more prepared")
	}
}
