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
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// serve answers HTTP on PORT, and echoes datagrams on the same UDP port:
//
//	/         {"hostname": ..., "client": ...}
//	/healthz  200, or 500 from the moment that /sick was asked
//	/sick     see above
//	/exit     ends the process with code 3
//
// It listens after START-DELAY. At SIGTERM it says so and goes on serving for
// STOP-DELAY.
func serve(args []string) error {
	port := arg(args, 0, "8080")
	startDelay, err := time.ParseDuration(arg(args, 1, "0s"))
	if err != nil {
		return err
	}
	stopDelay, err := time.ParseDuration(arg(args, 2, "0s"))
	if err != nil {
		return err
	}
	time.Sleep(startDelay)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var config net.ListenConfig
	datagrams, err := config.ListenPacket(ctx, "udp", ":"+port)
	if err != nil {
		return err
	}
	go echo(datagrams)
	server := &http.Server{Addr: ":" + port, Handler: handler(), ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	fmt.Println("serving on", port)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		fmt.Println("got SIGTERM")
		time.Sleep(stopDelay)
		fmt.Println("bye")
		return nil
	}
}

func handler() http.Handler {
	hostname, _ := os.Hostname()
	var sick atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		_ = json.NewEncoder(w).Encode(map[string]string{"hostname": hostname, "client": client})
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			http.Error(w, "sick", http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/sick", func(http.ResponseWriter, *http.Request) { sick.Store(true) })
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	return mux
}

func echo(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}
}

func get(args []string) error {
	times, err := strconv.Atoi(arg(args, 1, "1"))
	if err != nil {
		return err
	}
	// A new connection each time, so that a service's load balancing shows.
	client := &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	for range times {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, arg(args, 0, ""), nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		if response.StatusCode >= 400 {
			return fmt.Errorf("%s: %s", response.Status, body)
		}
		fmt.Println(strings.TrimSpace(string(body)))
	}
	return nil
}

func udpSend(args []string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(context.Background(), "udp", arg(args, 0, ""))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 1500)
	for range 5 { // datagrams may be lost
		if _, err = io.WriteString(conn, arg(args, 1, "hello")); err != nil {
			continue
		}
		if err = conn.SetReadDeadline(time.Now().Add(4 * time.Second)); err != nil {
			return err
		}
		var n int
		if n, err = conn.Read(buf); err == nil {
			fmt.Println(string(buf[:n]))
			return nil
		}
	}
	return err
}
