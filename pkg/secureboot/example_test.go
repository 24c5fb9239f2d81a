package secureboot_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/digital-mycelium/os/pkg/secureboot"
)

// Keys are made once; a program that is signed with them verifies until it is changed.
func Example() {
	dir, err := os.MkdirTemp("", "secureboot")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	keys, err := secureboot.Generate("Home", time.Now())
	if err != nil {
		panic(err)
	}
	if err := keys.Save(filepath.Join(dir, "keys")); err != nil {
		panic(err)
	}
	db, err := secureboot.LoadSigner(filepath.Join(dir, "keys"), secureboot.DB)
	if err != nil {
		panic(err)
	}
	signed, err := secureboot.Sign(smallestProgram(), db)
	if err != nil {
		panic(err)
	}
	fmt.Println(secureboot.Verify(bytes.NewReader(signed), int64(len(signed)), db.Certificate))
	signed[500] ^= 1
	err = secureboot.Verify(bytes.NewReader(signed), int64(len(signed)), db.Certificate)
	fmt.Println(err != nil)
	// Output:
	// <nil>
	// true
}

// smallestProgram is headers alone.
func smallestProgram() []byte {
	le, b := binary.LittleEndian, make([]byte, 512)
	copy(b, "MZ")
	le.PutUint32(b[60:], 64)
	copy(b[64:], "PE\x00\x00\x64\x86")
	le.PutUint16(b[84:], 240) // optional header
	le.PutUint16(b[88:], 0x20b)
	le.PutUint32(b[148:], 512) // headers
	le.PutUint32(b[196:], 16)  // data directories
	return b
}
