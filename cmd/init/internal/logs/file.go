package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// File is a log file that is renamed to NAME.1 when it is full, so that the two
// never hold more than twice its limit. Lines that cannot be written (a full
// disk) are counted and dropped.
type File struct {
	path  string
	limit int64
	queue chan []byte

	mu      sync.Mutex
	dropped int

	done chan struct{}
	f    *os.File
	size int64
}

// OpenFile opens the log at path, which need not exist, for limit bytes a file.
func OpenFile(path string, limit int64) (*File, error) {
	l := &File{path: path, limit: limit, queue: make(chan []byte, 1024), done: make(chan struct{})}
	if err := l.open(); err != nil {
		return nil, err
	}
	go l.run()
	return l, nil
}

func (l *File) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open the log: %w", err), f.Close())
	}
	l.f, l.size = f, info.Size()
	return nil
}

// Line queues a line. It never blocks: when the disk is too slow, the line is
// dropped.
func (l *File) Line(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.queue <- line:
	default:
		l.dropped++
	}
}

// Close writes what is queued, syncs and closes the file.
func (l *File) Close() error {
	close(l.queue)
	<-l.done
	if l.f == nil {
		return nil
	}
	return errors.Join(l.f.Sync(), l.f.Close())
}

func (l *File) run() {
	defer close(l.done)
	for line := range l.queue {
		l.mu.Lock()
		dropped := l.dropped
		l.dropped = 0
		l.mu.Unlock()
		if dropped > 0 {
			line = append(fmt.Appendf(nil, "(%d lines dropped: the disk was full or slow)\n", dropped), line...)
		}
		if err := l.write(line); err != nil {
			l.mu.Lock()
			l.dropped += dropped + 1
			l.mu.Unlock()
		}
	}
}

func (l *File) write(line []byte) error {
	if l.f == nil || l.size+int64(len(line)) > l.limit {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.f.Write(line)
	l.size += int64(n)
	return err
}

func (l *File) rotate() error {
	if l.f != nil {
		if err := l.f.Close(); err != nil {
			return err
		}
		l.f = nil
	}
	if err := os.Rename(l.path, l.path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return l.open()
}
