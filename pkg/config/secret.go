package config

import (
	"fmt"
	"log/slog"
)

// redacted is what a secret shows as, everywhere.
const redacted = "(secret)"

// Secret is a value that must not appear in logs or output. Every way of
// formatting or encoding it gives "(secret)", or nothing when it is empty;
// Reveal gives the value, and Config.Document writes it for the node.
type Secret string

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format implements fmt.Formatter: no verb reveals the value. (fmt asks nobody
// for %p, which vet refuses for what is no pointer.)
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText implements encoding.TextMarshaler, for JSON and XML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML keeps the value out of yaml.Marshal.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
