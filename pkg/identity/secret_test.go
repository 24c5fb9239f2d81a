package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"go.yaml.in/yaml/v3"
)

// holder is how another package may keep secrets: also in fields that fmt
// cannot call methods on.
type holder struct {
	Key    PrivateKey
	Phrase Passphrase
	Token  Token
	key    PrivateKey
	phrase Passphrase
	token  Token
}

// decimals is how fmt shows the bytes of s with most verbs.
func decimals(s string) string {
	return strings.Trim(fmt.Sprintf("%d", []byte(s)), "[]")
}

func TestSecretsStaySecret(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	token, err := i.Invite(Caps{Node: Agent}, 1, time.Hour)
	noErr(t, err)
	raw, err := token.Request(testKey("one"), [32]byte{1}, "one")
	noErr(t, err)
	req, err := Parse[Request](raw)
	noErr(t, err)
	cred, err := i.Issue(sign(t, n.issuer, Request{Network: n.id, Key: n.issuer.Public(), Mesh: [32]byte{1}, Name: "issuer"}), Caps{Node: Server})
	noErr(t, err)
	cert, err := TLSCertificate(n.issuer, cred)
	noErr(t, err)
	phrase := "canary-4711"
	h := holder{n.issuer, NewPassphrase(phrase), token, n.issuer, NewPassphrase(phrase), token}

	var out bytes.Buffer
	for _, v := range []any{h, &h, h.Key, &h.Key, h.Phrase, h.Token, &h.Token, i, *req, req, req.Invite, cert, &cert, []PrivateKey{h.key}, map[string]Token{"a": token}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).Info("x", "value", v)
		}
		for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal, xml.Marshal, cbor.Marshal, func(v any) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.Bytes(), err
		}} {
			switch v.(type) {
			case Request, *Request, bearer: // their encoding is what goes over the wire
				continue
			}
			b, _ := marshal(v) // some cannot encode some: no matter
			out.Write(b)
		}
	}
	for _, v := range []any{*req, req, req.Invite} {
		for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
			b, err := marshal(v)
			noErr(t, err)
			out.Write(b)
		}
	}
	shown := out.String()
	seed := n.issuer.reveal()
	invite := token.reveal()[len(token.reveal())-64:] // its signature
	for what, secret := range map[string]string{"seed": seed, "passphrase": phrase, "invite": invite, "expanded key": string(n.issuer.ed25519()[:32])} {
		for form, s := range map[string]string{
			"plain": secret,
			"hex":   fmt.Sprintf("%x", secret), "HEX": fmt.Sprintf("%X", secret),
			"decimal": decimals(secret), "Go": strings.Trim(fmt.Sprintf("%#v", []byte(secret)), "[]byte{}"),
			"comma":  strings.ReplaceAll(decimals(secret), " ", ","),
			"base64": base64.StdEncoding.EncodeToString([]byte(secret))[:len(secret)],
		} {
			if strings.Contains(shown, s) {
				t.Errorf("the %s shows in %s", what, form)
			}
		}
	}
	if strings.Contains(shown, token.Reveal()) || !strings.Contains(shown, redacted) {
		t.Error("the token shows, or nothing does")
	}
	if (Passphrase{}).IsZero() != true || h.Key.IsZero() {
		t.Error("IsZero is wrong")
	}
}
