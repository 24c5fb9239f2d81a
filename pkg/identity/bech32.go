package identity

import (
	"fmt"
	"strings"
)

// The strings that people copy and compare are bech32m (BIP 350): a prefix that
// names the kind, "1", the value in an alphabet without look-alikes, and six
// characters of checksum that catch any four wrong characters in up to 90.
const (
	bech32Alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	bech32mConst   = 0x2bc830a3
	checksumLen    = 6
)

func polymod(sum uint32, v byte) uint32 {
	top := sum >> 25
	sum = (sum&0x1ffffff)<<5 ^ uint32(v)
	for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
		if top>>i&1 == 1 {
			sum ^= g
		}
	}
	return sum
}

// polymodPrefix starts a checksum with the expanded prefix.
func polymodPrefix(prefix string) uint32 {
	sum := uint32(1)
	for i := range len(prefix) {
		sum = polymod(sum, prefix[i]>>5)
	}
	sum = polymod(sum, 0)
	for i := range len(prefix) {
		sum = polymod(sum, prefix[i]&31)
	}
	return sum
}

// bech32Encode returns data in bech32m. prefix is in lower case.
func bech32Encode(prefix string, data []byte) string {
	var out strings.Builder
	out.WriteString(prefix + "1")
	sum := polymodPrefix(prefix)
	put := func(v byte) {
		sum = polymod(sum, v)
		out.WriteByte(bech32Alphabet[v])
	}
	acc, bits := uint32(0), 0
	for _, b := range data {
		acc, bits = acc<<8|uint32(b), bits+8
		for bits >= 5 {
			bits -= 5
			put(byte(acc>>bits) & 31)
		}
	}
	if bits > 0 {
		put(byte(acc<<(5-bits)) & 31)
	}
	for range checksumLen {
		sum = polymod(sum, 0)
	}
	sum ^= bech32mConst
	for i := range checksumLen {
		out.WriteByte(bech32Alphabet[sum>>(5*(checksumLen-1-i))&31])
	}
	return out.String()
}

// bech32Decode returns the data of a bech32m string of at most maxLen
// characters, all in lower or all in upper case. Its errors wrap ErrMalformed
// and do not repeat the string, which may be a secret.
func bech32Decode(prefix, s string, maxLen int) ([]byte, error) {
	if len(s) > maxLen {
		return nil, fmt.Errorf("%w: %d characters, at most %d are expected: copy it again", ErrMalformed, len(s), maxLen)
	}
	lower := strings.ToLower(s)
	if s != lower && s != strings.ToUpper(s) {
		return nil, fmt.Errorf("%w: upper and lower case are mixed: copy it again", ErrMalformed)
	}
	body, ok := strings.CutPrefix(lower, prefix+"1")
	if !ok || len(body) < checksumLen {
		return nil, fmt.Errorf("%w: it does not begin with %q, or is cut short: copy it again", ErrMalformed, prefix+"1")
	}
	sum := polymodPrefix(prefix)
	data := make([]byte, 0, len(body)*5/8)
	acc, bits := uint32(0), 0
	for i := range len(body) {
		v := strings.IndexByte(bech32Alphabet, body[i])
		if v < 0 {
			return nil, fmt.Errorf("%w: character %d cannot occur in it: copy it again", ErrMalformed, len(prefix)+2+i)
		}
		sum = polymod(sum, byte(v))
		if i >= len(body)-checksumLen {
			continue
		}
		acc, bits = acc<<5|uint32(v), bits+5
		if bits >= 8 {
			bits -= 8
			data = append(data, byte(acc>>bits))
		}
	}
	if sum != bech32mConst {
		return nil, fmt.Errorf("%w: its checksum is wrong: a character is mistyped or missing", ErrMalformed)
	}
	if bits >= 5 || acc&(1<<bits-1) != 0 {
		return nil, fmt.Errorf("%w: it does not end at a whole byte: copy it again", ErrMalformed)
	}
	return data, nil
}
