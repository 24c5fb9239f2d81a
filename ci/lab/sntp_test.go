package lab

import (
	"encoding/binary"
	"testing"
	"time"
)

func TestNTPReply(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 500_000_000, time.UTC)
	client := make([]byte, ntpPacketSize)
	client[0] = 4<<3 | 3
	binary.BigEndian.PutUint64(client[40:], 0x1122334455667788)

	reply, ok := ntpReply(client, now)
	if !ok {
		t.Fatal("a client's request got no reply")
	}
	if got := reply[0]; got != 4<<3|4 {
		t.Errorf("first byte %#x: want version 4, mode server", got)
	}
	if got := binary.BigEndian.Uint64(reply[24:]); got != 0x1122334455667788 {
		t.Errorf("originate timestamp %#x: want the client's", got)
	}
	stamp := binary.BigEndian.Uint64(reply[40:])
	if got := int64(stamp>>32) + ntpEpoch; got != now.Unix() {
		t.Errorf("transmit seconds %d, want %d", got, now.Unix())
	}
	if got := uint32(stamp); got != 1<<31 {
		t.Errorf("transmit fraction %#x, want half a second", got)
	}
}

func TestNTPReplyRefuses(t *testing.T) {
	server := make([]byte, ntpPacketSize)
	server[0] = 4<<3 | 4
	for name, packet := range map[string][]byte{
		"empty": nil, "short": make([]byte, 47), "a server's packet": server,
	} {
		if _, ok := ntpReply(packet, time.Now()); ok {
			t.Errorf("%s: got a reply", name)
		}
	}
}

func FuzzNTPReply(f *testing.F) {
	f.Add(make([]byte, ntpPacketSize))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if reply, ok := ntpReply(packet, time.Unix(0, 0)); ok && len(reply) != ntpPacketSize {
			t.Errorf("reply of %d bytes", len(reply))
		}
	})
}
