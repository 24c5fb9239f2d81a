package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// Fetch gets files of a release server.
type Fetch interface {
	// Get returns the file path, which is relative and separated by slashes, below
	// the server's base. It reads at most max bytes (ErrTooLarge if there are more);
	// a file that is not there is ErrNotFound. With the etag of an earlier
	// answer, notModified says that the file is still that one. An empty etag
	// asks for the file in any case.
	Get(ctx context.Context, path string, max int64, etag string) (body []byte, newETag string, notModified bool, err error)
}

// maxETag is the length of an entity tag that is worth remembering, in bytes.
const maxETag = 256

// HTTP fetches from a web server.
type HTTP struct {
	// Base is the URL of the directory that holds metadata and targets.
	Base string
	// Client makes the requests; http.DefaultClient if it is nil.
	Client *http.Client
}

// Get implements Fetch.
func (h *HTTP) Get(ctx context.Context, path string, max int64, etag string) ([]byte, string, bool, error) {
	where, err := url.JoinPath(h.Base, strings.Split(path, "/")...)
	if err != nil {
		return nil, "", false, fmt.Errorf("release server %q: %w", h.Base, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, "", false, fmt.Errorf("release server %q: %w", h.Base, err)
	}
	req.Header.Set("Accept-Encoding", "identity") // an entity tag and a size belong to the file as it is
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	client := h.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, "", false, err // which names the method and the URL
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		if etag == "" {
			return nil, "", false, fmt.Errorf("get %s: the server says \"not modified\" to a request without a condition", where)
		}
		return nil, etag, true, nil
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone: // object stores forbid what is not there
		return nil, "", false, fmt.Errorf("get %s: %w (%s)", where, ErrNotFound, res.Status)
	default:
		return nil, "", false, fmt.Errorf("get %s: the server answers %s", where, res.Status)
	}
	if res.ContentLength > max {
		return nil, "", false, fmt.Errorf("get %s: %w: %d bytes, at most %d are expected", where, ErrTooLarge, res.ContentLength, max)
	}
	body, err := readAll(res.Body, max)
	if err != nil {
		return nil, "", false, fmt.Errorf("get %s: %w", where, err)
	}
	tag := res.Header.Get("ETag")
	if len(tag) > maxETag {
		tag = ""
	}
	return body, tag, false, nil
}

// readAll reads all of r unless it is more than max bytes.
func readAll(r io.Reader, max int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > max {
		return nil, fmt.Errorf("%w: more than the %d bytes that are expected", ErrTooLarge, max)
	}
	return body, nil
}

// Directory fetches from a directory of that path, such as a mounted USB stick.
// It has no entity tags.
type Directory string

// Get implements Fetch. It does not leave the directory, also through links.
func (d Directory) Get(ctx context.Context, path string, max int64, _ string) ([]byte, string, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", false, err
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, "", false, fmt.Errorf("release directory: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	fi, err := root.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", false, fmt.Errorf("%s in %s: %w", path, string(d), ErrNotFound)
	}
	if err == nil && !fi.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, "", false, fmt.Errorf("%s in %s: %w", path, string(d), err)
	}
	f, err := root.Open(path)
	if err != nil {
		return nil, "", false, fmt.Errorf("%s in %s: %w", path, string(d), err)
	}
	defer f.Close()
	body, err := readAll(f, max)
	if err != nil {
		return nil, "", false, fmt.Errorf("%s in %s: %w", path, string(d), err)
	}
	return body, "", false, nil
}
