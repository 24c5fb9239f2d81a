package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// The authenticated variable store of EDK II (MdeModulePkg,
// Include/Guid/VariableFormat.h), sizes in bytes.
const (
	storeHeader    = 28
	variableHeader = 60
	variableAdded  = 0x3f // a state bit less for each step to its deletion
	variableStart  = 0x55aa
	// nonVolatile is EFI_VARIABLE_NON_VOLATILE | BOOTSERVICE_ACCESS | RUNTIME_ACCESS.
	nonVolatile = 7
)

// compact clears away what was deleted from a store that reaches to the end of flash, as
// the firmware does when it needs room, and returns where the free room begins.
func compact(flash []byte, begin int) int {
	to := begin
	for at := begin; at+variableHeader <= len(flash) && binary.LittleEndian.Uint16(flash[at:]) == variableStart; {
		name, data := binary.LittleEndian.Uint32(flash[at+36:]), binary.LittleEndian.Uint32(flash[at+40:])
		size := min((variableHeader+int(name)+int(data)+3)&^3, len(flash)-at)
		if flash[at+2] == variableAdded {
			to += copy(flash[to:], flash[at:at+size])
		}
		at += size
	}
	free := flash[to:]
	for i := range free {
		free[i] = 0xff
	}
	return to
}

// FillVariables puts variables of no meaning into a copy of OVMF's variables until there
// is no room for another one of as few as 64 bytes.
func FillVariables(flash []byte) ([]byte, error) {
	flash = bytes.Clone(flash)
	if len(flash) < 0x40 {
		return nil, errors.New("the firmware's variables are too short for a firmware volume")
	}
	begin := int(binary.LittleEndian.Uint16(flash[0x30:])) // EFI_FIRMWARE_VOLUME_HEADER.HeaderLength
	if begin+storeHeader > len(flash) {
		return nil, errors.New("the firmware's variables have no variable store")
	}
	end := begin + int(binary.LittleEndian.Uint32(flash[begin+16:]))
	if end > len(flash) || flash[begin+20] != 0x5a {
		return nil, errors.New("the firmware's variable store is not formatted")
	}
	at := compact(flash[:end], begin+storeHeader)
	for n := 0; end-at >= 128; n++ {
		name := utf16.Encode([]rune(fmt.Sprintf("Fill%04d\x00", n)))
		data := min(16<<10, end-at-variableHeader-2*len(name)-32)
		h := flash[at:]
		clear(h[:variableHeader])
		binary.LittleEndian.PutUint16(h, variableStart)
		h[2] = variableAdded
		binary.LittleEndian.PutUint32(h[4:], nonVolatile)
		binary.LittleEndian.PutUint32(h[36:], uint32(2*len(name)))
		binary.LittleEndian.PutUint32(h[40:], uint32(data))
		copy(h[44:variableHeader], "mycelium's tests") // the vendor's GUID
		for i, c := range name {
			binary.LittleEndian.PutUint16(h[variableHeader+2*i:], c)
		}
		body := h[variableHeader+2*len(name):][:data]
		for i := range body {
			body[i] = 0xaa
		}
		at += (variableHeader + 2*len(name) + data + 3) &^ 3
	}
	return flash, nil
}
