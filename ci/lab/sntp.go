package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// ntpEpoch is the Unix time of 1900-01-01, where NTP's seconds begin (RFC 5905, section 6).
const ntpEpoch = -2208988800

// ntpPacketSize is the length of an NTP header without extensions, in bytes.
const ntpPacketSize = 48

// NTPServer answers SNTP requests (RFC 4330) on a UDP port of 127.0.0.1 with
// the host's time, so that a guest whose own clock is wrong finds the right
// one without the Internet. A guest on QEMU's user network reaches it at
// 10.0.2.2.
type NTPServer struct {
	conn     net.PacketConn
	requests atomic.Int64
	muted    atomic.Bool
	done     chan struct{}
}

// StartNTP starts a server on a free port. The caller must Close it.
func StartNTP(ctx context.Context) (*NTPServer, error) {
	var config net.ListenConfig
	conn, err := config.ListenPacket(ctx, "udp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("NTP server: %w", err)
	}
	s := &NTPServer{conn: conn, done: make(chan struct{})}
	go s.serve()
	return s, nil
}

// Port is the UDP port that the server listens on.
func (s *NTPServer) Port() int { return s.conn.LocalAddr().(*net.UDPAddr).Port }

// Requests is how many valid requests were answered.
func (s *NTPServer) Requests() int { return int(s.requests.Load()) }

// Mute makes the server silent, or lets it answer again.
func (s *NTPServer) Mute(muted bool) { s.muted.Store(muted) }

// Close stops the server.
func (s *NTPServer) Close() error {
	err := s.conn.Close()
	<-s.done
	return err
}

func (s *NTPServer) serve() {
	defer close(s.done)
	buf := make([]byte, 512)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		reply, ok := ntpReply(buf[:n], time.Now())
		if !ok || s.muted.Load() {
			continue
		}
		s.requests.Add(1)
		_, _ = s.conn.WriteTo(reply, from)
	}
}

// ntpReply is the answer to a client's packet, or false when it is none.
func ntpReply(request []byte, now time.Time) ([]byte, bool) {
	const modeClient, modeServer = 3, 4
	if len(request) < ntpPacketSize || request[0]&7 != modeClient {
		return nil, false
	}
	version := request[0] >> 3 & 7
	reply := make([]byte, ntpPacketSize)
	reply[0] = version<<3 | modeServer
	reply[1] = 2                     // stratum: one step from a reference clock
	reply[2] = request[2]            // poll interval
	reply[3] = 0xec                  // precision: 2^-20 s
	copy(reply[12:16], "LOCL")       // reference identifier
	copy(reply[24:32], request[40:]) // originate: the client's transmit time
	stamp := ntpTime(now)
	binary.BigEndian.PutUint64(reply[16:], stamp) // reference
	binary.BigEndian.PutUint64(reply[32:], stamp) // receive
	binary.BigEndian.PutUint64(reply[40:], stamp) // transmit
	return reply, true
}

// ntpTime is t as NTP's 32.32 fixed-point seconds since 1900.
func ntpTime(t time.Time) uint64 {
	seconds := uint64(t.Unix()-ntpEpoch) << 32
	return seconds | uint64(t.Nanosecond())<<32/1e9
}
