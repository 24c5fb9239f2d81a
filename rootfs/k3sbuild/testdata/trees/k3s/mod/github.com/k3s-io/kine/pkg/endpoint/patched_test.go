package endpoint

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/k3s-io/kine/pkg/drivers"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestDrivers(t *testing.T) {
	for scheme, want := range map[string]bool{
		"sqlite": true, "http": true, "https": true,
		"mysql": false, "postgres": false, "postgresql": false, "nats": false, "litestream": false,
	} {
		if _, have := drivers.Get(scheme); have != want {
			t.Errorf("%s is registered: %v, want %v", scheme, have, want)
		}
	}
}

// TestServes talks to kine as the API server does, with a value just below
// etcd's limit and one above.
func TestServes(t *testing.T) {
	t.Chdir(t.TempDir())
	etcd, err := Listen(t.Context(), Config{
		Listener:            "unix://kine.sock",
		EmulatedETCDVersion: "3.6.7",
		NotifyInterval:      5 * time.Second,
		CompactTimeout:      time.Second,
		CompactBatchSize:    1000,
		PollBatchSize:       500,
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: etcd.Endpoints, DialTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := create(t, client, "/registry/a", strings.Repeat("x", 1<<20)); err != nil {
		t.Errorf("create: %v", err)
	}
	resp, err := client.Get(t.Context(), "/registry/a")
	if err != nil || len(resp.Kvs) != 1 || len(resp.Kvs[0].Value) != 1<<20 {
		t.Errorf("get: %v, %v", resp, err)
	}
	if err := create(t, client, "/registry/b", strings.Repeat("x", 3<<20)); err == nil {
		t.Error("a value of 3 MiB is stored")
	}
}

// create stores a key as the API server does when it makes an object.
func create(t *testing.T, client *clientv3.Client, key, value string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, value)).Commit()
	return err
}
