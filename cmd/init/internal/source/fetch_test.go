package source

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/config"
)

func TestParseLocation(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	tests := []struct{ in, shown, err string }{
		{"https://example.org/node.yaml", "https://example.org/node.yaml", ""},
		{"https://user:s3cret@example.org:8443/a%20b?token=s3cret#sha256=" + digest, "https://example.org:8443/a%20b", ""},
		{"http://10.0.2.2/node.yaml#sha256=" + strings.ToUpper(digest), "http://10.0.2.2/node.yaml", ""},
		{"http://[fd00::1]:80/#sha256=" + digest, "http://[fd00::1]:80/", ""},
		{"http://s3cret.org/", "", "add #sha256="},
		{"http://example.org/#sha256=s3cret", "", "64 hexadecimal digits"},
		{"https://example.org/#sha256=" + digest[2:], "", "64 hexadecimal digits"},
		{"https://example.org/#md5=s3cret", "", "64 hexadecimal digits"},
		{"on", "", "neither off nor an http"},
		{"ftp://s3cret@example.org/", "", "neither off nor an http"},
		{"https:///node.yaml", "", "with a host"},
		{"https:s3cret", "", "with a host"},
		{"https://s3cret%zz/", "", "it is no URL"},
		{"", "", "neither off nor an http"},
	}
	for _, tt := range tests {
		l, err := ParseLocation(tt.in)
		if tt.err == "" && (err != nil || l.String() != tt.shown) {
			t.Errorf("%q: %v, %v, want %q", tt.in, l, err, tt.shown)
		}
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%q: error %v, want %q and no secret", tt.in, err, tt.err)
		}
	}
}

func FuzzParseLocation(f *testing.F) {
	f.Add(pinned)
	f.Add("https://user:s3cret@example.org:8443/a?token=b")
	f.Add("http://[fe80::1%25eth0]/")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLocation(text)
		if err != nil {
			return
		}
		if l.URL.Scheme == "http" && len(l.SHA256) != sha256.Size {
			t.Errorf("%q: http without a digest", text)
		}
		if shown := l.String(); l.URL.User != nil && strings.Contains(shown, l.URL.User.String()+"@") {
			t.Errorf("%q: shown with its user: %s", text, shown)
		}
		_ = l.ID()
	})
}

// locate returns the URL as the command line would pin it; sum may be nil.
func locate(t *testing.T, url string, sum []byte) Location {
	t.Helper()
	if sum == nil {
		sum = make([]byte, sha256.Size)
	}
	l, err := ParseLocation(fmt.Sprintf("%s#sha256=%x", url, sum))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestFetch(t *testing.T) {
	document := named("kitchen")
	mux := http.NewServeMux()
	mux.HandleFunc("/right", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(document)) })
	mux.HandleFunc("/wrong", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(wrong)) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, config.MaxSize+1)) })
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("cut"))
	})
	mux.Handle("/circle", http.RedirectHandler("/circle", http.StatusFound))
	mux.Handle("/moved", http.RedirectHandler("/right", http.StatusFound))
	plain, secure := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	defer plain.Close()
	defer secure.Close()
	mux.Handle("/down", http.RedirectHandler(plain.URL+"/right", http.StatusFound))
	right := sha256.Sum256([]byte(document))
	free := func(url string) Location { l := locate(t, url, nil); l.SHA256 = nil; return l }
	tests := []struct {
		name string
		at   Location
		err  string
	}{
		{"pinned", locate(t, plain.URL+"/right", right[:]), ""},
		{"moved", locate(t, plain.URL+"/moved", right[:]), ""},
		{"https", free(secure.URL + "/right"), ""},
		{"another document", locate(t, plain.URL+"/right", nil), "has the SHA-256"},
		{"none", locate(t, plain.URL+"/nothing?token=s3cret", nil), "the server answers 404"},
		{"wrong", free(secure.URL + "/wrong"), "is wrong: line 3"},
		{"too long", locate(t, plain.URL+"/long", nil), "longer than"},
		{"cut off", locate(t, plain.URL+"/short", nil), "unexpected EOF"},
		{"circle", locate(t, plain.URL+"/circle?token=s3cret", nil), "circle"},
		{"https to http", free(secure.URL + "/down"), "redirects to http"},
		{"https to http, pinned", locate(t, secure.URL+"/down", right[:]), ""},
		{"nobody", locate(t, "http://user:s3cret@127.0.0.1:1/x?token=s3cret", nil), "fetch http://127.0.0.1:1/x: dial"},
	}
	for _, tt := range tests {
		b, err := Fetch(t.Context(), secure.Client().Transport, tt.at)
		if tt.err == "" && (err != nil || string(b) != document) {
			t.Errorf("%s: %q, %v", tt.name, b, err)
		}
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: error %v, want %q and no secret", tt.name, err, tt.err)
		}
		final := tt.name == "another document" || tt.name == "wrong" || tt.name == "too long"
		if errors.Is(err, ErrDocument) != final {
			t.Errorf("%s: asking again helps: %v, want %v: %v", tt.name, !errors.Is(err, ErrDocument), !final, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	last := time.Duration(0)
	for n := range 70 {
		d := Backoff(n)
		if d < last || d < time.Second || d > 5*time.Minute {
			t.Errorf("attempt %d: %s after %s", n, d, last)
		}
		last = d
	}
	if last != 5*time.Minute {
		t.Errorf("the longest pause is %s", last)
	}
}
