package api

import (
	"fmt"
	"log/slog"
)

const redacted = "(secret)"

// Format implements fmt.Formatter: no verb shows the key.
func (IssuerGrant) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText returns "(secret)", for JSON, XML and the like.
func (IssuerGrant) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary returns "(secret)", for gob and the like.
func (IssuerGrant) MarshalBinary() ([]byte, error) { return []byte(redacted), nil }

// MarshalYAML keeps the key out of YAML.
func (IssuerGrant) MarshalYAML() (any, error) { return redacted, nil }

// LogValue implements slog.LogValuer.
func (IssuerGrant) LogValue() slog.Value { return slog.StringValue(redacted) }

// String returns the server and not the token.
func (j ClusterJoin) String() string { return "join " + j.Server + " with " + redacted }

// Format implements fmt.Formatter: no verb shows the token.
func (j ClusterJoin) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(j.String())) }

// MarshalText returns String, for JSON, XML and the like.
func (j ClusterJoin) MarshalText() ([]byte, error) { return []byte(j.String()), nil }

// MarshalBinary returns String, for gob and the like.
func (j ClusterJoin) MarshalBinary() ([]byte, error) { return []byte(j.String()), nil }

// MarshalYAML keeps the token out of YAML.
func (j ClusterJoin) MarshalYAML() (any, error) { return j.String(), nil }

// LogValue implements slog.LogValuer.
func (j ClusterJoin) LogValue() slog.Value { return slog.StringValue(j.String()) }
