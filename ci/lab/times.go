package lab

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// Times collects how long tests took and what they measured. The zero value
// is ready; its methods are safe for concurrent use.
type Times struct {
	mu   sync.Mutex
	rows []timesRow
}

// outcomeFailed is the outcome of a test that failed. A row that only has notes
// has none.
const outcomeFailed = "FAILED"

type timesRow struct {
	test    string
	took    time.Duration
	outcome string
	notes   []string
}

// Start begins to time a test; the caller calls the returned function when it ends.
func (r *Times) Start(t testing.TB) (stop func()) {
	began := time.Now()
	return func() {
		outcome := "ok"
		if t.Failed() {
			outcome = outcomeFailed
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		row := r.row(t.Name())
		row.took, row.outcome = time.Since(began), outcome
		t.Logf("%s after %.1f s", outcome, row.took.Seconds()) // at once, for whoever watches
	}
}

// Note adds a measurement to a test's row.
func (r *Times) Note(t testing.TB, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.Log(text)
	r.add(t, text)
}

// Failure adds why a test failed to its row: what the table says at the end of
// a long run need not be searched for in it. The caller ends the test.
func (r *Times) Failure(t testing.TB, reason string) {
	const most = 1500 // bytes
	r.add(t, reason[:min(most, len(reason))])
}

func (r *Times) add(t testing.TB, note string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := r.row(t.Name())
	row.notes = append(row.notes, note)
}

// row finds or makes a test's row; r.mu must be held.
func (r *Times) row(test string) *timesRow {
	i := slices.IndexFunc(r.rows, func(row timesRow) bool { return row.test == test })
	if i < 0 {
		i = len(r.rows)
		r.rows = append(r.rows, timesRow{test: test})
	}
	return &r.rows[i]
}

// Print writes the table: outcome, seconds and name of each test, then its notes.
func (r *Times) Print(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	printRows(w, r.rows)
}

func printRows(w io.Writer, rows []timesRow) {
	fmt.Fprintln(w, "outcome  seconds  test")
	for _, row := range rows {
		fmt.Fprintf(w, "%-7s  %7.1f  %s\n", row.outcome, row.took.Seconds(), row.test)
		for _, note := range row.notes {
			fmt.Fprintf(w, "%18s%s\n", "", note)
		}
	}
}

// Finish prints the table, and writes the rows of what failed to Out/failures.txt
// as well: whoever runs more than one test binary shows them last.
func (s *Suite) Finish(t testing.TB) {
	t.Helper()
	s.Times.Print(os.Stdout)
	s.Times.mu.Lock()
	failed := slices.DeleteFunc(slices.Clone(s.Times.rows), func(row timesRow) bool { return row.outcome != outcomeFailed })
	s.Times.mu.Unlock()
	if len(failed) == 0 {
		return
	}
	var text bytes.Buffer
	printRows(&text, failed)
	if err := os.WriteFile(filepath.Join(s.Out, "failures.txt"), text.Bytes(), 0o644); err != nil {
		t.Log(err)
	}
}
