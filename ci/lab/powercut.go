package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

// beforeFile is the disk as it was when a machine that records its writes was started.
const beforeFile = "before.img"

// Start starts the machine. Of one that records its writes the disk is kept as it is,
// for CutPower.
func (m *Machine) Start(ctx context.Context) error {
	if m.Spec().RecordWrites {
		if running, err := m.Running(); err != nil || running {
			return errors.Join(err, m.Node.Start(ctx))
		}
		out, err := exec.CommandContext(ctx, "cp", "--sparse=always", "--reflink=auto", m.DiskPath(), m.beforePath()).CombinedOutput()
		if err != nil {
			return fmt.Errorf("keep the disk: %w: %s", err, out)
		}
	}
	return m.Node.Start(ctx)
}

func (m *Machine) beforePath() string { return filepath.Join(m.Spec().Dir, beforeFile) }

// CutPower takes the machine's power away, and with it what its disk had in its cache:
// of the writes since the last flush each is lost, whole or torn, with the random
// numbers' even chance. It needs a machine that records its writes.
func (m *Machine) CutPower(ctx context.Context, random *rand.Rand) (lost int, err error) {
	if !m.Spec().RecordWrites {
		return 0, errors.New("cut the power: the machine's writes are not recorded")
	}
	if err := m.Kill(ctx); err != nil {
		return 0, err
	}
	log, err := os.Open(m.WriteLogPath())
	if err != nil {
		return 0, fmt.Errorf("cut the power: %w", err)
	}
	defer log.Close()
	disk, err := os.OpenFile(m.beforePath(), os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("cut the power: %w", err)
	}
	lost, err = replay(log, disk, random)
	if err := errors.Join(err, disk.Close()); err != nil {
		return 0, fmt.Errorf("cut the power: %w", err)
	}
	return lost, os.Rename(m.beforePath(), m.DiskPath())
}

// The log of writes of Linux' dm-log-writes (Documentation/admin-guide/device-mapper/
// log-writes.rst), as QEMU's blklogwrites writes it; sizes in bytes.
const (
	logMagic  = 0x6a736677736872
	logSector = 512

	logFlush   = 1
	logFUA     = 2
	logDiscard = 4
)

// logEntry is one request to the disk.
type logEntry struct {
	at, bytes int64 // on the disk
	flags     uint64
	data      int64 // where it is in the log
}

// readLog lists the requests in a log, which may end within one.
func readLog(log io.ReaderAt, size int64) ([]logEntry, error) {
	var head [logSector]byte
	if _, err := log.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("read the log of writes: %w", err)
	}
	if magic, sector := binary.LittleEndian.Uint64(head[:]), binary.LittleEndian.Uint32(head[24:]); magic != logMagic || sector != logSector {
		return nil, fmt.Errorf("the log of writes begins with magic %x and sectors of %d bytes", magic, sector)
	}
	var entries []logEntry
	for at := int64(logSector); at+logSector <= size; {
		if _, err := log.ReadAt(head[:32], at); err != nil {
			return nil, fmt.Errorf("read the log of writes: %w", err)
		}
		e := logEntry{
			at: int64(binary.LittleEndian.Uint64(head[:])) * logSector, bytes: int64(binary.LittleEndian.Uint64(head[8:])) * logSector,
			flags: binary.LittleEndian.Uint64(head[16:]), data: at + logSector,
		}
		if e.at < 0 || e.bytes < 0 || e.bytes > size {
			return nil, fmt.Errorf("the log of writes has a request of %d bytes at %d of the disk", e.bytes, e.at)
		}
		at = e.data
		if e.flags&logDiscard == 0 {
			at += e.bytes
		}
		if at > size {
			break
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// replay carries out on disk what a log says, and loses some of what was not flushed.
func replay(log *os.File, disk io.WriterAt, random *rand.Rand) (lost int, err error) {
	st, err := log.Stat()
	if err != nil {
		return 0, err
	}
	entries, err := readLog(log, st.Size())
	if err != nil {
		return 0, err
	}
	durable := 0 // entries before this one are on the disk for good
	for i, e := range entries {
		if e.flags&logFlush != 0 {
			durable = i
		}
	}
	for i, e := range entries {
		if e.flags&logDiscard != 0 || e.bytes == 0 {
			continue // what is discarded may well be there still
		}
		if i >= durable && e.flags&logFUA == 0 && random.IntN(2) == 0 {
			lost++
			e.bytes = random.Int64N(e.bytes/logSector+1) * logSector // the beginning of it
			if random.IntN(2) == 0 {
				continue
			}
		}
		data := make([]byte, e.bytes)
		if _, err := log.ReadAt(data, e.data); err != nil {
			return lost, fmt.Errorf("read the log of writes: %w", err)
		}
		if _, err := disk.WriteAt(data, e.at); err != nil {
			return lost, fmt.Errorf("write the disk: %w", err)
		}
	}
	return lost, nil
}
