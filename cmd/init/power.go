package main

import (
	"context"
	"encoding/binary"
	"os"
	"os/signal"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchPower turns the power button, Ctrl-Alt-Del and signals into requests:
//
//	power button, SIGTERM, SIGPWR   shut down
//	Ctrl-Alt-Del, SIGINT            reboot
func (m *machine) watchPower(ctx context.Context) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGPWR)
	// Ctrl-Alt-Del sends us SIGINT in place of an immediate reset.
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		m.log.Warn("Ctrl-Alt-Del resets the machine at once", "error", err)
	}
	m.spawn(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				m.log.Info("signal", "signal", s.String())
				if s == unix.SIGINT {
					m.request(actionReboot)
				} else {
					m.request(actionPowerOff)
				}
			}
		}
	})
	paths, _ := filepath.Glob("/dev/input/event*")
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if !hasPowerKey(f) {
			_ = f.Close()
			continue
		}
		m.log.Info("power button found", "device", path)
		m.spawn(func() { m.readPowerButton(f) })
	}
}

// From linux/input-event-codes.h.
const (
	evKey    = 1
	keyPower = 116
)

// hasPowerKey asks an input device whether it has a power key (EVIOCGBIT).
func hasPowerKey(f *os.File) bool {
	var bits [96]byte // one bit for each of the 768 keys
	req := uintptr(2<<30 | len(bits)<<16 | 'E'<<8 | (0x20 + evKey))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), req, uintptr(unsafe.Pointer(&bits)))
	return errno == 0 && bits[keyPower/8]&(1<<(keyPower%8)) != 0
}

// inputEventSize is that of struct input_event on 64-bit machines: two words of
// time, type, code, value.
const inputEventSize = 24

func (m *machine) readPowerButton(f *os.File) {
	defer f.Close()
	buf := make([]byte, inputEventSize)
	for {
		if n, err := f.Read(buf); err != nil || n != inputEventSize {
			m.log.Warn("the power button is gone", "error", err)
			return
		}
		if isPowerPress(buf) {
			m.log.Info("power button pressed")
			m.request(actionPowerOff)
		}
	}
}

// isPowerPress reads one struct input_event.
func isPowerPress(b []byte) bool {
	le := binary.LittleEndian
	return le.Uint16(b[16:]) == evKey && le.Uint16(b[18:]) == keyPower && le.Uint32(b[20:]) == 1
}
