package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/digital-mycelium/os/pkg/config"
)

// fetchTimeout is how long one attempt may take, from the name to the last byte.
const fetchTimeout = 20 * time.Second

// Fetch gets the document once, and only one that Location.Check accepts. A
// redirect from https to http is followed for a pinned document only. The error
// shows no secret of the URL.
func Fetch(ctx context.Context, transport http.RoundTripper, l Location) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	client := &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return errors.New("it redirects in a circle")
		}
		if r.URL.Scheme != "https" && l.SHA256 == nil {
			return errors.New("it redirects to http: add #sha256= to the URL to allow that")
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.URL.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: the URL cannot be asked for", l)
	}
	resp, err := client.Do(req)
	if err != nil {
		var outer *url.Error // it repeats the whole URL
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, fmt.Errorf("fetch %s: %w", l, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch %s: the server answers %s", l, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, config.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", l, err)
	}
	if len(b) > config.MaxSize {
		return nil, fmt.Errorf("%w: %s is longer than the %d bytes that a configuration may have", ErrDocument, l, config.MaxSize)
	}
	if err := l.Check(b); err != nil {
		return nil, err
	}
	return b, nil
}

// Backoff returns how long to wait before the attempt that follows n failed
// ones: from a second, doubled, to five minutes.
func Backoff(n int) time.Duration {
	if n > 9 {
		return 5 * time.Minute
	}
	return min(time.Second<<max(n-1, 0), 5*time.Minute)
}
