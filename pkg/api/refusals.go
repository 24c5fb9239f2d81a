package api

import (
	"crypto/tls"
	"errors"
	"hash/maphash"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	refusalSlots    = 1024
	refusalsAMinute = 60 // lines a minute, whatever happens
)

// refusalLog says what was logged already, in a fixed amount of memory: a peer
// that is refused again and again fills no log. Two peers that meet in one slot
// may be logged again.
type refusalLog struct {
	seed maphash.Seed
	now  func() time.Time

	mu     sync.Mutex
	seen   [refusalSlots]uint64
	minute time.Time
	lines  int
}

func newRefusalLog() *refusalLog {
	return &refusalLog{seed: maphash.MakeSeed(), now: time.Now}
}

// first reports whether to log that address is refused for reason.
func (l *refusalLog) first(address, reason string) bool {
	h := maphash.String(l.seed, address+"\x00"+reason)
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := &l.seen[h%refusalSlots]
	if *slot == h {
		return false
	}
	if now := l.now(); now.Sub(l.minute) >= time.Minute {
		l.minute, l.lines = now, 0
	}
	if l.lines >= refusalsAMinute {
		return false
	}
	l.lines++
	*slot = h
	return true
}

// explainHandshake returns why a handshake failed, in one word and with what to
// do, or nothing when the peer only went away.
func explainHandshake(err error) (reason, advice string) {
	if reason := reasonOf(err); reason != "" {
		switch reason {
		case "wrong-network":
			return reason, "it belongs to another network: nothing to do, unless it should be here"
		case "not-member":
			return reason, "it must ask the issuer of its invite, on port 6441"
		case "invite":
			return reason, "give it a new invite"
		}
		return reason, "it is no member: enrol it, or see whether it is of the same version"
	}
	switch text := err.Error(); {
	case errors.As(err, new(tls.RecordHeaderError)):
		return "no-tls", "it does not speak TLS: call https://, with the command mycelium"
	case strings.Contains(text, "client didn't provide a certificate"):
		return "no-certificate", "call with a certificate of the network: mycelium network show"
	case strings.Contains(text, "unsupported versions"):
		return "old-tls", "it does not speak TLS 1.3: use a newer program"
	case strings.Contains(text, "remote error: "):
		return "refused-us", "the other end does not accept this node: it belongs to another network or looks for another node"
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "", ""
	}
	return "tls", "see whether it is of the same version"
}
