package secureboot

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// made is when the tests' keys are made.
var made = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// owner returns keys that all tests share: they take seconds to make.
var owner = sync.OnceValues(func() (*Keys, error) { return Generate("Test", made) })

func testKeys(t testing.TB) *Keys {
	t.Helper()
	k, err := owner()
	noErr(t, err)
	return k
}

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testProgram is an EFI program for amd64 that does nothing, with so many bytes behind
// its sections.
func testProgram(trailing int) []byte {
	const (
		lfanew, headers, alignment = 64, 1024, 512
		coff                       = lfanew + 4
		optional                   = coff + coffSize
		table                      = optional + optionalSize + 16*8
	)
	le := binary.LittleEndian
	b := make([]byte, headers+2*alignment)
	copy(b, "MZ")
	le.PutUint32(b[60:], lfanew)
	copy(b[lfanew:], "PE\x00\x00")
	le.PutUint16(b[coff:], 0x8664)
	le.PutUint16(b[coff+2:], 3)
	le.PutUint16(b[coff+16:], table-optional)
	le.PutUint16(b[coff+18:], 0x206)
	opt := b[optional:]
	le.PutUint16(opt, magicPE32Plus)
	le.PutUint32(opt[16:], 0x1000) // entry point
	le.PutUint32(opt[32:], 0x1000)
	le.PutUint32(opt[36:], alignment)
	le.PutUint32(opt[56:], 0x4000)
	le.PutUint32(opt[offSizeOfHeaders:], headers)
	le.PutUint16(opt[68:], 10) // EFI application
	le.PutUint32(opt[offDirectoryCount:], 16)
	for i, s := range []struct {
		name         string
		size, offset int
	}{{".text", alignment, headers}, {".bss", 0, 0}, {".data", alignment, headers + alignment}} {
		h := b[table+i*sectionSize:]
		copy(h, s.name)
		le.PutUint32(h[8:], 100)
		le.PutUint32(h[12:], uint32(0x1000*(i+1)))
		le.PutUint32(h[16:], uint32(s.size))
		le.PutUint32(h[20:], uint32(s.offset))
		le.PutUint32(h[36:], 0x60000020)
	}
	copy(b[headers:], bytes.Repeat([]byte{0xc3}, 100))
	copy(b[headers+alignment:], "data")
	return append(b, bytes.Repeat([]byte("t"), trailing)...)
}

// signed is testProgram with a signature of the key db.
func signed(t testing.TB, trailing int) []byte {
	t.Helper()
	b, err := Sign(testProgram(trailing), testKeys(t).Signer(DB))
	noErr(t, err)
	return b
}

func verify(b []byte, s *Signer) error {
	return Verify(bytes.NewReader(b), int64(len(b)), s.Certificate)
}

// saved is a directory with the tests' keys.
func saved(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	noErr(t, testKeys(t).Save(dir))
	return dir
}

// tool runs one of the package sbsigntool and returns what it says.
func tool(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: apt-get install sbsigntool", err)
	}
	said, err := exec.Command(name, args...).CombinedOutput()
	return strings.TrimSpace(string(said)), err
}

func write(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program.efi")
	noErr(t, os.WriteFile(path, b, 0o600))
	return path
}
