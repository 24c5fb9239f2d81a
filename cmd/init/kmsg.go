package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// startKernelLog copies the kernel's messages into the log "kernel".
func (m *machine) startKernelLog() {
	ring := m.logs.Get("kernel")
	f, err := os.Open("/dev/kmsg")
	if err != nil {
		m.log.Warn("no kernel log", "error", err)
		return
	}
	m.spawn(func() {
		buf := make([]byte, 8192)
		for {
			n, err := f.Read(buf)
			if err != nil {
				if n == 0 && strings.Contains(err.Error(), "broken pipe") {
					continue // messages were overwritten before they were read
				}
				m.log.Warn("the kernel log ends", "error", err)
				return
			}
			fmt.Fprintln(ring, formatKmsg(buf[:n]))
		}
	})
}

// formatKmsg turns a record of /dev/kmsg ("6,339,5140900,-;message\n KEY=value")
// into a line as dmesg prints it.
func formatKmsg(record []byte) string {
	prefix, message, found := bytes.Cut(record, []byte{';'})
	if !found {
		return strings.TrimSpace(string(record))
	}
	if i := bytes.IndexByte(message, '\n'); i >= 0 {
		message = message[:i]
	}
	fields := strings.Split(string(prefix), ",")
	if len(fields) < 3 {
		return string(message)
	}
	us, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return string(message)
	}
	return fmt.Sprintf("[%5d.%06d] %s", us/1e6, us%1e6, message)
}
