package delta_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/digital-mycelium/os/pkg/update/delta"
)

// A machine that has an old file gets a new one: only what it lacks is loaded.
func Example() {
	old := make([]byte, 1<<20)
	if _, err := rand.Read(old); err != nil {
		panic(err)
	}
	file := append([]byte("a new beginning"), old...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}))
	defer server.Close()
	index, err := delta.Make(bytes.NewReader(file))
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "delta")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	var last delta.Progress
	got, err := delta.Fetch(context.Background(), delta.Config{
		Index: index,
		Dir:   dir,
		Local: []delta.Local{{Name: "the running slot", Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(old)), nil
		}}},
		Server:   delta.HTTPSource(server.Client(), server.URL+"/os.efi"),
		Progress: func(p delta.Progress) { last = p },
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("whole:", last.Have() == index.Size())
	fmt.Println("loaded a third at most:", last.Received < index.Size()/3)
	if err := got.Remove(); err != nil {
		panic(err)
	}
	// Output:
	// whole: true
	// loaded a third at most: true
}
