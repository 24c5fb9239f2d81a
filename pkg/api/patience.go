package api

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/digital-mycelium/os/pkg/api/machine/v1/machinev1connect"
)

// longUpload reports whether a request's body may take as long as it likes while
// it keeps coming.
func longUpload(path string) bool {
	return path == machinev1connect.MachineServiceLoadImageProcedure || path == machinev1connect.MachineServicePushUpdateProcedure ||
		strings.HasPrefix(path, kubernetesPath)
}

// patientWriter gives up a client that does not take what is written to it.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration
}

// Write writes within the limit. The deadline does not stay: in HTTP/2 it would
// end a stream that has nothing to say for a while.
func (w *patientWriter) Write(p []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.limit)) // every server here supports it
	n, err := w.ResponseWriter.Write(p)
	_ = w.control.SetWriteDeadline(time.Time{})
	return n, err
}

// Flush implements http.Flusher, which package connect asks for.
func (w *patientWriter) Flush() {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.limit))
	_ = w.control.Flush()
	_ = w.control.SetWriteDeadline(time.Time{})
}

// Unwrap lets a proxy take the connection over.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// last sets the deadline for what the server still has to write when the handler
// has returned.
func (w *patientWriter) last() { _ = w.control.SetWriteDeadline(time.Now().Add(w.limit)) }

// patientBody gives up a client that does not send what it announced: the whole
// body within the limit, or something of it each time.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	limit   time.Duration
	each    bool
}

func (b *patientBody) start() { _ = b.control.SetReadDeadline(time.Now().Add(b.limit)) }

func (b *patientBody) Read(p []byte) (int, error) {
	if b.each {
		b.start()
	}
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.enough()
	}
	return n, err
}

// enough says that nothing more is waited for. In HTTP/1 the deadline would count
// for the connection, and end a stream that goes the other way.
func (b *patientBody) enough() { _ = b.control.SetReadDeadline(time.Time{}) }
