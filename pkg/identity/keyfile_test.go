package identity

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
)

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	key := testKey("root")
	fast := func(p string) Passphrase { return Passphrase{newSecret(p), 10} }
	machine, err := age.GenerateX25519Identity()
	noErr(t, err)
	stranger, err := age.GenerateX25519Identity()
	noErr(t, err)

	byPhrase, byKey := filepath.Join(dir, "phrase.age"), filepath.Join(dir, "key.age")
	noErr(t, WriteKey(byPhrase, key, fast("correct horse")))
	noErr(t, WriteKey(byKey, key, machine.Recipient(), stranger.Recipient()))
	for _, path := range []string{byPhrase, byKey} {
		fi, err := os.Stat(path)
		noErr(t, err)
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", path, fi.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		noErr(t, err)
		if !bytes.HasPrefix(data, []byte("-----BEGIN AGE ENCRYPTED FILE-----\n")) || bytes.Contains(data, []byte(key.reveal())) {
			t.Errorf("%s is not an age file in text form", path)
		}
	}
	for name, c := range map[string]struct {
		path string
		id   age.Identity
		want error
	}{
		"passphrase":       {byPhrase, fast("correct horse"), nil},
		"wrong passphrase": {byPhrase, fast("battery staple"), ErrLocked},
		"identity":         {byKey, machine, nil},
		"second identity":  {byKey, stranger, nil},
		"phrase for key":   {byKey, fast("correct horse"), ErrLocked},
		"key for phrase":   {byPhrase, machine, ErrLocked},
		"missing":          {filepath.Join(dir, "none"), machine, fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadKey(c.path, c.id)
			wantErr(t, err, c.want)
			if err == nil && got.Public() != key.Public() || err != nil && !got.IsZero() {
				t.Errorf("read another key (%v)", err)
			}
		})
	}
	wantErr(t, WriteKey(byKey, key, machine.Recipient()), fs.ErrExist)
	for name, err := range map[string]error{
		"no recipient":     WriteKey(filepath.Join(dir, "a"), key),
		"two kinds":        WriteKey(filepath.Join(dir, "b"), key, fast("x"), machine.Recipient()),
		"empty passphrase": WriteKey(filepath.Join(dir, "c"), key, fast("")),
		"no key":           WriteKey(filepath.Join(dir, "d"), PrivateKey{}, machine.Recipient()),
	} {
		if err == nil {
			t.Errorf("%s: written", name)
		}
	}
	noErr(t, os.Chmod(byKey, 0o640))
	if _, err := ReadKey(byKey, machine); err == nil {
		t.Error("read a key file that others can read")
	}
}

func TestDamagedKeyFile(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	noErr(t, err)
	var whole bytes.Buffer
	noErr(t, encryptKey(&whole, testKey("root"), []age.Recipient{id.Recipient()}))
	for end := 0; end < whole.Len()-1; end += 7 {
		if _, err := decryptKey(whole.Bytes()[:end], []age.Identity{id}); err == nil {
			t.Errorf("read when cut at %d", end)
		}
	}
	for _, text := range []string{"", keyHeader, keyHeader + "zz", "another file\n"} {
		var file bytes.Buffer
		w, err := age.Encrypt(&file, id.Recipient())
		noErr(t, err)
		_, err = w.Write([]byte(text))
		noErr(t, err)
		noErr(t, w.Close())
		_, err = decryptKey(file.Bytes(), []age.Identity{id})
		wantErr(t, err, ErrMalformed)
	}
	_, err = decryptKey(make([]byte, maxKeyFile+1), []age.Identity{id})
	wantErr(t, err, ErrMalformed)
}
