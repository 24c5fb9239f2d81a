package main

import (
	"os"
	"path/filepath"
	"reflect"

	"github.com/digital-mycelium/os/pkg/config"
)

// secretFiles match the files whose content is secret.
func secretFiles() []string {
	return []string{
		k3sTokenPath, k3sNodePasswordPath, k3sNodePasswordState, k3sNodePassword, k3sAgentTokenPath, k3sJoinTokenPath,
		k3sData + "/server/*token", k3sData + "/server/cred/passwd", k3sData + "/server/cred/*.key",
		k3sData + "/server/tls/*.key", k3sData + "/server/tls/*/*.key", k3sData + "/agent/*.key",
		// The machine's own keys, whoever names them.
		"/state/mycelium/*key*", "/state/mycelium/*/*key*", "/state/mycelium/*token*", "/state/mycelium/*secret*",
	}
}

// maxSecretFile is the largest file that counts as a secret, in bytes.
const maxSecretFile = 16 << 10

// secrets returns the secrets that the machine knows, for the redactor.
func (m *machine) secrets() []string {
	return append(configSecrets(reflect.ValueOf(m.config())), readSecrets(secretFiles())...)
}

// readSecrets returns the contents of the files that globs match. What cannot be
// read shows in no log either.
func readSecrets(globs []string) []string {
	var list []string
	for _, glob := range globs {
		paths, _ := filepath.Glob(glob)
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil || !info.Mode().IsRegular() || info.Size() > maxSecretFile {
				continue
			}
			if b, err := os.ReadFile(path); err == nil {
				list = append(list, string(b))
			}
		}
	}
	return list
}

// configSecrets returns every config.Secret in v.
func configSecrets(v reflect.Value) []string {
	if !v.IsValid() {
		return nil
	}
	if v.Type() == reflect.TypeFor[config.Secret]() {
		return []string{v.String()}
	}
	var list []string
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return configSecrets(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			list = append(list, configSecrets(v.Field(i))...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			list = append(list, configSecrets(v.Index(i))...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			list = append(list, configSecrets(v.MapIndex(key))...)
		}
	}
	return list
}
