package sqlite

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/k3s-io/kine/pkg/drivers"
	"github.com/k3s-io/kine/pkg/drivers/generic"
	"github.com/k3s-io/kine/pkg/server"
)

// open opens K3s' default database in a folder of the test's own.
func open(t *testing.T) (server.Backend, *generic.Generic) {
	t.Helper()
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	cfg := &drivers.Config{
		ConnectionPoolConfig: generic.ConnectionPoolConfig{MaxIdle: 8},
		CompactTimeout:       time.Second,
		CompactMinRetain:     1,
		CompactBatchSize:     1000,
		PollBatchSize:        500,
	}
	backend, dialect, err := NewVariant(ctx, &wg, "sqlite", cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := backend.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		dialect.DB.Close()
	})
	return backend, dialect
}

// TestCommitsAreDurable expects what the C library gives with the same
// parameters: a commit is on disk before it is answered, a writer waits for
// another, readers wait for nobody.
func TestCommitsAreDurable(t *testing.T) {
	_, dialect := open(t)
	for range 3 { // on each of several connections
		conn, err := dialect.DB.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "30000"} {
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
			}
		}
	}
}

func TestCreateUpdateDelete(t *testing.T) {
	b, _ := open(t)
	ctx := t.Context()
	created, err := b.Create(ctx, "/registry/a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(ctx, "/registry/a", []byte("2"), 0); !errors.Is(err, server.ErrKeyExists) {
		t.Errorf("created again: %v, want %v", err, server.ErrKeyExists)
	}
	updated, _, ok, err := b.Update(ctx, "/registry/a", []byte("3"), created, 0)
	if err != nil || !ok || updated <= created {
		t.Errorf("update of revision %d: %d, %v, %v", created, updated, ok, err)
	}
	if _, kv, ok, err := b.Update(ctx, "/registry/a", []byte("4"), created, 0); err != nil || ok || kv == nil || string(kv.Value) != "3" {
		t.Errorf("update of an old revision: %+v, %v, %v", kv, ok, err)
	}
	if _, kv, err := b.Get(ctx, "/registry/a", "", 0, created, false); err != nil || kv == nil || string(kv.Value) != "1" {
		t.Errorf("at revision %d: %+v, %v", created, kv, err)
	}
	if _, _, ok, err := b.Delete(ctx, "/registry/a", updated); err != nil || !ok {
		t.Errorf("delete: %v, %v", ok, err)
	}
	if _, kv, err := b.Get(ctx, "/registry/a", "", 0, 0, false); err != nil || kv != nil {
		t.Errorf("deleted key: %+v, %v", kv, err)
	}
	if _, err := b.Create(ctx, "/registry/a", []byte("5"), 0); err != nil {
		t.Errorf("created after its deletion: %v", err)
	}
}

// TestLists asks with the patterns of prepared statements, over and over, and
// with a character that means something to LIKE.
func TestLists(t *testing.T) {
	b, _ := open(t)
	ctx := t.Context()
	for _, key := range []string{"/registry/a_b/1", "/registry/axb/2", "/registry/axb/3", "/registry/axbc/4"} {
		if _, err := b.Create(ctx, key, []byte(key), 0); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string][]string{
		"/registry/a_b/":  {"/registry/a_b/1"},
		"/registry/axb/":  {"/registry/axb/2", "/registry/axb/3"},
		"/registry/axb/3": {"/registry/axb/3"},
		"/none/":          nil,
	} {
		for range 3 {
			_, kvs, err := b.List(ctx, prefix, prefix, 0, 0, false)
			var got []string
			for _, kv := range kvs {
				got = append(got, string(kv.Value))
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("list of %s: %q, %v; want %q", prefix, got, err, want)
			}
		}
	}
	if _, n, err := b.Count(ctx, "/registry/axb/", "/registry/axb/", 0); err != nil || n != 2 {
		t.Errorf("count: %d, %v; want 2", n, err)
	}
	for limit := 1; limit <= 4; limit++ { // each limit is a statement of its own
		if _, kvs, err := b.List(ctx, "/registry/", "/registry/", int64(limit), 0, false); err != nil || len(kvs) != limit {
			t.Errorf("list with limit %d: %d, %v", limit, len(kvs), err)
		}
	}
}

func TestWatch(t *testing.T) {
	b, _ := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rev, err := b.Create(ctx, "/registry/pods/a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	watch := b.Watch(ctx, "/registry/pods/", rev) // from the past
	if rev, _, _, err = b.Update(ctx, "/registry/pods/a", []byte("2"), rev, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(ctx, "/registry/secrets/x", []byte("unseen"), 0); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err = b.Delete(ctx, "/registry/pods/a", rev); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 3 {
		select {
		case events := <-watch.Events:
			for _, e := range events {
				got = append(got, e.KV.Key+map[bool]string{true: " deleted", false: "=" + string(e.KV.Value)}[e.Delete])
			}
		case <-ctx.Done():
			t.Fatalf("events until the time was over: %q", got)
		}
	}
	if want := []string{"/registry/pods/a=1", "/registry/pods/a=2", "/registry/pods/a deleted"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// TestManyWriters expects no write to be lost or refused when several come at
// once, each with statements prepared on its own connection.
func TestManyWriters(t *testing.T) {
	b, _ := open(t)
	const writers, each = 8, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				if _, err := b.Create(t.Context(), "/w/"+string(rune('a'+w))+string(rune('a'+i)), []byte("x"), 0); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		}()
	}
	wg.Wait()
	if _, n, err := b.Count(t.Context(), "/w/", "/w/", 0); err != nil || n != writers*each {
		t.Errorf("%d keys, %v; want %d", n, err, writers*each)
	}
}

// TestNothingIsHeldOpen expects that an idle database has no reader: one that
// is forgotten keeps the write-ahead log from ever being taken over whole, and
// a compaction, whose checkpoint waits for it, from letting writers go on.
func TestNothingIsHeldOpen(t *testing.T) {
	b, dialect := open(t)
	ctx := t.Context()
	rev, err := b.Create(ctx, "/registry/a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := b.Update(ctx, "/registry/a", []byte("2"), rev, 0); err != nil {
		t.Fatal(err)
	}
	// What the database looks at by itself ends soon.
	var busy, logged, taken int
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := dialect.DB.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &logged, &taken); err != nil {
			t.Fatal(err)
		}
		used := dialect.DB.Stats().InUse
		if busy == 0 && logged > 0 && taken == logged && used == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("checkpoint: busy %d, %d of %d pages taken; %d connections in use", busy, taken, logged, used)
		}
	}
}
