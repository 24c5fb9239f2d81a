package delta

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// PathPrefix is where Handler serves files: the prefix and then the digest.
const PathPrefix = "/os/"

// Headers of the answer of a machine that gets the file itself.
const (
	headerHave    = "Delta-Have"    // how many bytes it has
	headerLeading = "Delta-Leading" // "true" when it loads from the server
)

// Open finds the file with a digest on this machine. When the state is Whole it
// returns the file, which Handler closes, and a time that changes with it; with
// another state it returns no file.
type Open func(digest string) (file io.ReadSeekCloser, modified time.Time, state PeerState, err error)

// Handler serves this machine's peers the files that it has, at PathPrefix and 64
// lower-case hexadecimal digits of their SHA-256: the file or a range of it when it
// is Whole, 503 with the state in headers when it is Fetching, 404 otherwise. Who
// may ask is for the caller to check.
func Handler(open Open) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+PathPrefix+"{digest}", func(w http.ResponseWriter, r *http.Request) {
		digest := r.PathValue("digest")
		if !validDigest(digest) {
			http.Error(w, "want the SHA-256 of a file: 64 lower-case hexadecimal digits", http.StatusNotFound)
			return
		}
		file, modified, state, err := open(digest)
		if err != nil {
			http.Error(w, "the file cannot be read here", http.StatusInternalServerError)
			return
		}
		if file != nil {
			defer file.Close()
		}
		switch {
		case state.Phase == Whole && file != nil:
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("ETag", `"`+digest+`"`)
			http.ServeContent(w, r, "", modified, file)
		case state.Phase == Fetching:
			w.Header().Set(headerHave, strconv.FormatInt(state.Have, 10))
			w.Header().Set(headerLeading, strconv.FormatBool(state.Leading))
			w.Header().Set("Retry-After", "2")
			http.Error(w, "this machine is fetching the file itself", http.StatusServiceUnavailable)
		default:
			http.Error(w, "this machine does not have the file", http.StatusNotFound)
		}
	})
	return mux
}

// validDigest reports whether s is the one form of a SHA-256.
func validDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && hex.EncodeToString(b) == s
}

// httpPeer is a machine with a Handler.
type httpPeer struct {
	httpSource
	before bool
}

// HTTPPeer returns the machine whose Handler is at base (such as
// https://10.1.2.3:7443) as a peer for the file with a digest. Before is as in Peer. The
// client says how the machine is told from others; it is not used to follow a
// redirection.
func HTTPPeer(client *http.Client, base, digest string, before bool) Peer {
	direct := *client
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p := &httpPeer{httpSource: *newHTTPSource(&direct, strings.TrimSuffix(base, "/")+PathPrefix+digest), before: before}
	p.name = base
	return p
}

func (p *httpPeer) Before() bool { return p.before }

func (p *httpPeer) State(ctx context.Context) (PeerState, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, p.url, nil)
	if err != nil {
		return PeerState{}, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return PeerState{}, err
	}
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return PeerState{Phase: Whole}, nil
	case http.StatusNotFound:
		return PeerState{Phase: None}, nil
	case http.StatusServiceUnavailable:
		return parseFetching(resp.Header)
	}
	return PeerState{}, fmt.Errorf("ask %s for its state: %s", p.name, resp.Status)
}

// parseFetching reads the headers of a machine that is Fetching.
func parseFetching(h http.Header) (PeerState, error) {
	have, ok := parseBytes(h.Get(headerHave))
	leading := h.Get(headerLeading)
	if !ok || have > MaxSize || (leading != "true" && leading != "false") {
		return PeerState{}, errors.New("the peer cannot answer now, and does not say that it fetches the file")
	}
	return PeerState{Phase: Fetching, Have: have, Leading: leading == "true"}, nil
}
