package netboot

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/pin/tftp/v3"
)

// TestServeTFTP fetches files as firmware does, with block size and file size.
func TestServeTFTP(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := site(map[string]MAC{"127.0.0.1": {2: 1}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- serveTFTP(ctx, conn, c) }()
	client, err := tftp.NewClient(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	client.SetBlockSize(1432)
	client.RequestTSize(true)
	r, err := client.Receive("snponly.efi", "octet")
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := r.(tftp.IncomingTransfer).Size(); !ok || n != 3 {
		t.Errorf("size %d, %v", n, ok)
	}
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil || b.String() != "snp" {
		t.Errorf("%q, %v", &b, err)
	}
	if _, err := client.Receive("../secret", "octet"); err == nil {
		t.Error("a file outside is served")
	}
	w, err := client.Send("snponly.efi", "octet")
	if err == nil {
		_, err = w.ReadFrom(strings.NewReader("mine"))
	}
	if err == nil {
		t.Error("a file can be written")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
