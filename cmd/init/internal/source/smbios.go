package source

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
)

// smbiosPrefix begins the OEM string that holds a document.
const smbiosPrefix = "mycelium.os:config="

// oemStrings is SMBIOS' structure type 11.
const oemStrings = 11

// FromSMBIOS returns the document that one of the strings of an SMBIOS structure
// of type 11 (OEM Strings, DMTF DSP0134 7.12) holds in Base64, nil when none
// does. The structure is as in /sys/firmware/dmi/entries/11-*/raw.
func FromSMBIOS(structure []byte) ([]byte, error) {
	const header = 4 // type, length, handle
	if len(structure) < header || structure[0] != oemStrings {
		return nil, errors.New("it is no SMBIOS structure of type 11")
	}
	length := int(structure[1])
	if length < header || length > len(structure) {
		return nil, fmt.Errorf("its SMBIOS structure is cut short: %d bytes of %d", len(structure), length)
	}
	for s := range bytes.SplitSeq(structure[length:], []byte{0}) {
		if len(s) == 0 {
			break // the end of the strings
		}
		encoded, ok := bytes.CutPrefix(s, []byte(smbiosPrefix))
		if !ok {
			continue
		}
		document, err := base64.RawStdEncoding.DecodeString(string(bytes.TrimRight(encoded, "=")))
		if err != nil {
			return nil, errors.New("what follows " + smbiosPrefix + " is not Base64: make it with base64 -w0")
		}
		return document, nil
	}
	return nil, nil
}
