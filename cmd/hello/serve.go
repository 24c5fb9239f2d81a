package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// answer is what the server says of itself.
type answer struct {
	Message string    `json:"message"`
	Name    string    `json:"name"`
	Pod     string    `json:"pod"`
	Node    string    `json:"node"`
	Time    time.Time `json:"time"`
}

// handler answers "/" with an answer and "/healthz" with "ok". The values come
// from the environment (POD_NAME, NODE_NAME: Kubernetes' downward API).
func handler(getenv func(string) string, hostname string, now func() time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		// An error here is the client's going away.
		_ = enc.Encode(answer{
			Message: "hello from the mycelium", Name: hostname,
			Pod: getenv("POD_NAME"), Node: getenv("NODE_NAME"), Time: now().UTC(),
		})
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

// serve runs the server until ctx ends, and then lets requests under way finish.
func serve(ctx context.Context, out io.Writer, _ []string) error {
	address := os.Getenv("ADDRESS")
	if address == "" {
		address = ":8080"
	}
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler(os.Getenv, hostname, time.Now),
		ReadHeaderTimeout: 10 * time.Second,
	}
	fmt.Fprintf(out, "serving on %s\n", listener.Addr())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintln(out, "stopping")
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = server.Shutdown(limited)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// get fetches a URL.
func get(ctx context.Context, out io.Writer, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(out, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", args[0], resp.Status)
	}
	return nil
}
