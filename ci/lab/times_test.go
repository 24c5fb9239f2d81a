package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// failedTest is a test that has failed.
type failedTest struct{ testing.TB }

func (failedTest) Failed() bool { return true }
func (failedTest) Name() string { return "broken" }

// TestFinish: what failed is written down, with why, and nothing else is.
func TestFinish(t *testing.T) {
	s := &Suite{Out: t.TempDir(), Times: new(Times)}
	file := filepath.Join(s.Out, "failures.txt")
	s.Times.Start(t)()
	s.Times.Note(t, "measured")
	s.Times.row("noted only").notes = []string{"ready soon"}
	s.Finish(t)
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("nothing failed: %v", err)
	}
	broken := failedTest{t}
	stop := s.Times.Start(broken)
	s.Times.Failure(broken, "too late")
	stop()
	s.Finish(t)
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "broken") || !strings.Contains(string(text), "too late") || strings.Contains(string(text), "noted only") {
		t.Errorf("%v:\n%s", err, text)
	}
}
