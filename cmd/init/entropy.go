package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/pkg/durable"
)

const (
	// seedSize is in bytes; a seed of 256 bits and more is worth full credit.
	seedSize = 512
	// seedPath keeps randomness from one boot to the next.
	seedPath = "/state/seed"
	// entropyPatience is how long a machine may take to have randomness of its
	// own, before the stored seed is there.
	entropyPatience = 3 * time.Second
)

// gatherEntropy waits until the kernel's random numbers are good. A machine
// that has no source of its own goes on: the seed on STATE may serve, and
// identify waits before it makes anything secret.
func (m *machine) gatherEntropy(ctx context.Context) error {
	if !waitRandom(ctx, entropyPatience) {
		m.log.Warn("no randomness yet: relying on the stored seed")
	}
	return nil
}

// waitRandom waits until getrandom(2) would not block; false after limit.
func waitRandom(ctx context.Context, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; {
		var b [1]byte
		if _, err := unix.Getrandom(b[:], unix.GRND_NONBLOCK); err == nil {
			return true
		}
		if time.Now().After(end) || !sleep(ctx, 20*time.Millisecond) {
			return false
		}
	}
}

// useSeed credits the stored seed to the kernel and replaces it at once, so
// that no two boots share one.
func useSeed(path string) error {
	seed, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the random seed: %w", err)
	}
	if len(seed) == seedSize {
		if err := creditEntropy(seed); err != nil {
			return err
		}
	}
	return saveSeed(path)
}

// saveSeed stores fresh randomness for the next boot, if the kernel has any.
func saveSeed(path string) error {
	b := make([]byte, seedSize)
	if _, err := unix.Getrandom(b[:1], unix.GRND_NONBLOCK); err != nil {
		return fmt.Errorf("no randomness for the next boot's seed: %w", err)
	}
	if _, err := rand.Read(b); err != nil {
		return fmt.Errorf("make the next boot's seed: %w", err)
	}
	return durable.WriteFile(path, b, 0o600)
}

// creditEntropy adds b to the kernel's pool at full value (RNDADDENTROPY).
func creditEntropy(b []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("credit the random seed: %w", err)
	}
	defer f.Close()
	var info struct {
		bits, size int32
		buf        [seedSize]byte
	}
	n := copy(info.buf[:], b)
	info.bits, info.size = int32(n*8), int32(n)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return fmt.Errorf("credit the random seed: %w", errno)
	}
	return nil
}
