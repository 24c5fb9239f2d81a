package delta

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// maxRefusal bounds what is read of an answer that is none, so that the connection
// can be used again.
const maxRefusal = 4 << 10

// httpSource is a file on a server.
type httpSource struct {
	client *http.Client
	url    string
	name   string
	etag   string // of the first answer
}

// HTTPSource returns the file at url as a source for one Fetch. It asks for ranges,
// and sees by the entity tag when the file becomes another one between two of them.
// No more bytes are read than were asked for.
func HTTPSource(client *http.Client, url string) Source {
	return newHTTPSource(client, url)
}

func newHTTPSource(client *http.Client, url string) *httpSource {
	return &httpSource{client: client, url: url, name: url}
}

func (h *httpSource) Name() string { return h.name }

func (h *httpSource) ReadRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUseless, err)
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	req.Header.Set("Accept-Encoding", "identity") // a range is one of the file, not of a packed form of it
	if h.etag != "" {
		req.Header.Set("If-Range", h.etag)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := h.check(resp, offset, length); err != nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxRefusal)
		resp.Body.Close()
		return nil, err
	}
	return &limited{io.LimitReader(resp.Body, length), resp.Body}, nil
}

// limited is the beginning of a body.
type limited struct {
	io.Reader
	io.Closer
}

// check refuses an answer that is not of the range.
func (h *httpSource) check(resp *http.Response, offset, length int64) error {
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return h.refusal(resp)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return fmt.Errorf("%w: it sends the file packed as %.40q", ErrUseless, e)
	}
	// A weak tag says nothing about bytes.
	if tag := resp.Header.Get("ETag"); strings.HasPrefix(tag, `"`) {
		if h.etag != "" && tag != h.etag {
			return fmt.Errorf("%w: the file became another one on the server: entity tag %.80s, was %.80s", ErrUseless, tag, h.etag)
		}
		h.etag = tag
	}
	if resp.StatusCode == http.StatusOK {
		if offset > 0 {
			return ErrNoRanges
		}
		return nil
	}
	got := resp.Header.Get("Content-Range")
	first, last, size, ok := parseContentRange(got)
	switch {
	case !ok || first != offset || last < first || last >= offset+length:
		return fmt.Errorf("%w: it was asked for bytes %d-%d and answers with Content-Range %.80q", ErrUseless, offset, offset+length-1, got)
	case size < offset+length:
		return fmt.Errorf("%w: its file is another, shorter one: Content-Range %.80q", ErrUseless, got)
	}
	return nil
}

// refusal says what a status means for the next try.
func (h *httpSource) refusal(resp *http.Response) error {
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound, code == http.StatusGone:
		return fmt.Errorf("%w: it does not have the file: %s", ErrUseless, resp.Status)
	case code == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: its file is another, shorter one: %s", ErrUseless, resp.Status)
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		return fmt.Errorf("it cannot answer now: %s", resp.Status)
	default:
		return fmt.Errorf("%w: it refuses: %s", ErrUseless, resp.Status)
	}
}

// parseContentRange reads "bytes 0-99/1234" (RFC 9110, 14.4). A size that the
// server does not know, "*", is as large as any.
func parseContentRange(s string) (first, last, size int64, ok bool) {
	s, isBytes := strings.CutPrefix(s, "bytes ")
	s, total, hasTotal := strings.Cut(s, "/")
	a, b, isRange := strings.Cut(s, "-")
	first, okFirst := parseBytes(a)
	last, okLast := parseBytes(b)
	size, okSize := parseBytes(total)
	if total == "*" {
		size, okSize = math.MaxInt64, true
	}
	return first, last, size, isBytes && hasTotal && isRange && okFirst && okLast && okSize
}

// parseBytes reads a number of bytes: digits alone.
func parseBytes(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 62)
	return int64(n), err == nil
}
