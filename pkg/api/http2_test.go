package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/api/machine/v1/machinev1connect"
)

// deaf opens a log, reads nothing until the server has given up, and then all.
func deaf(t *testing.T, h *http.Client, base string, gaveUp func() bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := machinev1connect.NewMachineServiceClient(h, base)
	stream, err := c.ReadLog(ctx, connect.NewRequest(&machinev1.ReadLogRequest{Name: "init"}))
	noErr(t, err)
	defer func() { _ = stream.Close() }()
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	eventually(t, gaveUp)
	for stream.Receive() {
	}
	return stream.Err()
}

func getWithHeader(t *testing.T, h *http.Client, url string, size int) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	noErr(t, err)
	req.Header.Set("X-Large", strings.Repeat("x", size))
	resp, err := h.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Body.Close()
}

// Streams that are opened and reset at once (CVE-2023-44487) never make more
// handlers run than a connection may have streams, and another member does not
// notice. A server that falls behind ends the connection.
func TestRapidReset(t *testing.T) {
	w := newWorld(t)
	s, _, _ := w.memberServer(discard)
	address := serve(t, s)
	ann := w.member("ann", reader)
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{ann.cert}, NextProtos: []string{"h2"}})
	noErr(t, err)
	defer func() { _ = c.Close() }()
	noErr(t, c.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(c, http2.ClientPreface)
	noErr(t, err)
	framer := http2.NewFramer(c, c)
	noErr(t, framer.WriteSettings())
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "POST"},
		{":scheme", "https"},
		{":authority", "x"},
		{":path", machinev1connect.MachineServiceWatchStatusProcedure},
		{"content-type", "application/connect+proto"},
	} {
		noErr(t, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: true}))
	}
	limit := make(chan uint32, 1)
	go func() {
		for {
			f, err := framer.ReadFrame()
			if err != nil {
				return
			}
			if f, ok := f.(*http2.SettingsFrame); ok {
				if n, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
					limit <- n
				}
			}
		}
	}()
	if n := <-limit; n != maxStreams {
		t.Errorf("the server allows %d streams of a connection", n)
	}
	bob := w.member("bob", reader)
	before, most := runtime.NumGoroutine(), 0
	const attempts, look = 10_000, 100
	opened := 0
	for id := uint32(1); opened < attempts; id += 2 {
		if framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}) != nil ||
			framer.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break
		}
		if opened++; opened%look == 0 {
			most = max(most, runtime.NumGoroutine()-before)
		}
		if opened == attempts/2 {
			noErr(t, second(bob.client(address).Status(t.Context())))
		}
	}
	t.Logf("%d streams, at most %d goroutines", opened, most)
	if opened < look {
		t.Errorf("the connection ended after %d streams", opened)
	}
	// A request has its handler and who watches over its rights.
	if most > 4*maxStreams {
		t.Errorf("%d goroutines for a connection that may have %d streams", most, maxStreams)
	}
	noErr(t, second(bob.client(address).Status(t.Context())))
}
