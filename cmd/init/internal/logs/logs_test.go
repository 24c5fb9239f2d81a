package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRing(t *testing.T) {
	r := NewRing(10)
	for _, s := range []string{"a", "b\nc", "c\n", "\n", "12345678\n"} {
		if n, err := r.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", s, n, err)
		}
	}
	got, pos, _ := r.Tail(-1)
	if string(got) != "\n12345678\n" || pos != 4 {
		t.Errorf("Tail(-1) = %q, %d", got, pos)
	}
	if got, _, _ := r.Tail(1); string(got) != "12345678\n" {
		t.Errorf("Tail(1) = %q", got)
	}
	if got, _, _ := r.Tail(0); len(got) != 0 {
		t.Errorf("Tail(0) = %q", got)
	}
}

func TestRingKeepsOneLongLine(t *testing.T) {
	r := NewRing(4)
	fmt.Fprintln(r, "a long line")
	if got, _, _ := r.Tail(-1); string(got) != "a long line\n" {
		t.Errorf("got %q", got)
	}
}

func TestRingCutsEndlessLine(t *testing.T) {
	r := NewRing(RingSize)
	for range 40 {
		fmt.Fprint(r, strings.Repeat("x", 1000))
	}
	if _, lines, _ := r.Tail(-1); lines != 2 {
		t.Errorf("%d lines, want 2", lines)
	}
}

func TestFollow(t *testing.T) {
	r := NewRing(100)
	fmt.Fprintln(r, "one")
	_, pos, changed := r.Tail(0)
	fmt.Fprintln(r, "two")
	select {
	case <-changed:
	default:
		t.Error("the follower is not woken")
	}
	got, pos, _ := r.Since(pos)
	if string(got) != "two\n" {
		t.Errorf("got %q", got)
	}
	if got, _, _ := r.Since(pos); len(got) != 0 {
		t.Errorf("got %q twice", got)
	}
	for i := range 100 {
		fmt.Fprintln(r, i)
	}
	got, _, _ = r.Since(pos)
	if !strings.HasSuffix(string(got), "98\n99\n") || len(got) > 100 {
		t.Errorf("a slow follower gets %q", got)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPersist(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	s := NewSet()
	fmt.Fprintln(s.Get("init"), "before")
	if err := s.Persist(dir); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(s.Get("init"), "after")
	fmt.Fprintln(s.Get("k3s"), "later")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(s.Get("init"), "closed")
	if got := read(t, dir+"/init.log"); got != "before\nafter\n" {
		t.Errorf("init.log holds %q", got)
	}
	if got := read(t, dir+"/k3s.log"); got != "later\n" {
		t.Errorf("k3s.log holds %q", got)
	}
	if got := s.Names(); !slices.Equal(got, []string{"init", "k3s"}) {
		t.Errorf("names %q", got)
	}
	if _, ok := s.Lookup("x"); ok {
		t.Error("a log that nobody made")
	}
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	l, err := OpenFile(dir+"/x.log", 20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.Line(fmt.Appendf(nil, "line %d\n", i)) // 7 bytes
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if a, b := read(t, dir+"/x.log.1"), read(t, dir+"/x.log"); a != "line 6\nline 7\n" || b != "line 8\nline 9\n" {
		t.Errorf("files hold %q and %q", a, b)
	}
	freed, err := FreeOld(dir)
	if _, gone := os.Stat(dir + "/x.log.1"); freed != 14 || err != nil || gone == nil {
		t.Errorf("FreeOld = %d, %v", freed, err)
	}
}

func TestFullDisk(t *testing.T) {
	l := &File{path: "/dev/full", limit: 1 << 20, queue: make(chan []byte, 16), done: make(chan struct{})}
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.f = f
	go l.run()
	for range 5 {
		l.Line([]byte("x\n"))
	}
	close(l.queue)
	<-l.done
	if l.dropped != 5 {
		t.Errorf("%d lines dropped, want 5", l.dropped)
	}
}

func TestSlowDisk(t *testing.T) {
	l := &File{queue: make(chan []byte, 2)} // nobody reads the queue
	for range 5 {
		l.Line([]byte("x\n"))
	}
	if l.dropped != 3 {
		t.Errorf("%d lines dropped, want 3", l.dropped)
	}
}
