package identity

import (
	"fmt"
	"log/slog"
)

// redacted is what a secret shows as, everywhere.
const redacted = "(secret)"

// secret holds a value that no formatting or encoding shows. The value stands
// behind a pointer because fmt cannot call the methods of a value that sits in
// another package's unexported field: there it prints the address.
type secret struct{ value *string }

func newSecret(s string) secret { return secret{&s} }

func (s secret) reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no value at all.
func (s secret) IsZero() bool { return s.value == nil }

// String returns "(secret)".
func (s secret) String() string { return redacted }

// Format implements fmt.Formatter: no verb shows the value.
func (s secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText returns "(secret)", for JSON, XML and the like.
func (s secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary returns "(secret)", for gob, CBOR and the like.
func (s secret) MarshalBinary() ([]byte, error) { return []byte(redacted), nil }

// MarshalYAML keeps the value out of YAML.
func (s secret) MarshalYAML() (any, error) { return redacted, nil }

// LogValue implements slog.LogValuer.
func (s secret) LogValue() slog.Value { return slog.StringValue(redacted) }
