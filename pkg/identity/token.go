package identity

import "fmt"

const (
	tokenPrefix = "mycinvite"
	maxToken    = len(tokenPrefix) + 1 + (maxInvite*8+4)/5 + checksumLen // characters
)

// Token is an invite in the form in which a person hands it on: up to 292
// characters with a checksum. Whoever has it may ask the issuer to be admitted,
// so it shows as "(secret)"; Reveal gives the characters.
type Token struct {
	secret // the encoded invite
	invite Invite
}

// ParseToken reads what Reveal returned, in either case (ErrMalformed,
// ErrSignature). Whether the token is still good only its issuer can say.
func ParseToken(s string) (Token, error) {
	data, err := bech32Decode(tokenPrefix, s, maxToken)
	if err != nil {
		return Token{}, fmt.Errorf("read the invite: %w", err)
	}
	return newToken(data)
}

func newToken(data []byte) (Token, error) {
	inv, err := Parse[Invite](data)
	if err != nil {
		return Token{}, err
	}
	return Token{newSecret(string(data)), *inv}, nil
}

// Reveal returns the characters themselves.
func (t Token) Reveal() string { return bech32Encode(tokenPrefix, []byte(t.reveal())) }

// Invite returns what the token says, which is no secret.
func (t Token) Invite() Invite { return t.invite }

// Request returns the encoded Request with which a newcomer asks for a
// certificate for key. It contains the token: show it to the issuer alone, which
// is whom TLSOptions.Peer = Invite.Issuer lets a client talk to.
func (t Token) Request(key PrivateKey, mesh [32]byte, name string) ([]byte, error) {
	return Sign(key, Request{Network: t.invite.Network, Key: key.Public(), Mesh: mesh, Name: name, Invite: bearer(t.reveal())})
}
