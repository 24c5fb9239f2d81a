package config

import (
	"bytes"
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Document returns c as a YAML document for the node: Parse reads it back to an
// equal Config, secrets included, so keep it as safe as the secrets. Fields that
// hold their default are left out.
func (c *Config) Document() ([]byte, error) { return c.encode(Secret.Reveal) }

// DisplayDocument returns c as a YAML document for people and logs: every secret
// that is set stands there as "(secret)", which Parse refuses as a value and
// ParseUpdate takes for the one that there is.
func (c *Config) DisplayDocument() ([]byte, error) { return c.encode(Secret.String) }

func (c *Config) encode(secret func(Secret) string) ([]byte, error) {
	node := encodeValue(reflect.ValueOf(c).Elem(), secret)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(node); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return b.Bytes(), nil
}

func encodeValue(v reflect.Value, secret func(Secret) string) *yaml.Node {
	if s, ok := v.Interface().(Secret); ok {
		return scalarNode("!!str", secret(s))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return encodeValue(v.Elem(), secret)
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for i := range v.NumField() {
			if field := v.Field(i); !field.IsZero() {
				n.Content = append(n.Content, scalarNode("!!str", v.Type().Field(i).Tag.Get("yaml")), encodeValue(field, secret))
			}
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		m := v.Interface().(map[string]string)
		for _, key := range sortedKeys(m) {
			n.Content = append(n.Content, scalarNode("!!str", key), scalarNode("!!str", m[key]))
		}
		return n
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			n.Content = append(n.Content, encodeValue(v.Index(i), secret))
		}
		return n
	case reflect.Bool:
		return scalarNode("!!bool", fmt.Sprint(v.Bool()))
	default:
		return scalarNode("!!str", v.String())
	}
}

func scalarNode(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}
