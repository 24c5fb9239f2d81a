package supplicant

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fields reads the lines NAME=VALUE of a reply.
func Fields(reply string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(reply) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
			fields[name] = value
		}
	}
	return fields
}

// Signal reads the reply to SIGNAL_POLL: the signal's strength in dBm.
func Signal(reply string) (dBm int, ok bool) {
	n, err := strconv.Atoi(Fields(reply)["RSSI"])
	return n, err == nil && n < 0 && n > -128
}

// Name returns the network's name that wpa_supplicant writes as text, for people:
// without its escapes where that is printable.
func Name(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			b.WriteByte(c)
			continue
		}
		i++
		switch text[i] {
		case '\\', '"':
			b.WriteByte(text[i])
		case 'x':
			n, err := strconv.ParseUint(text[i+1:min(i+3, len(text))], 16, 8)
			if err != nil || i+3 > len(text) {
				return text
			}
			b.WriteByte(byte(n))
			i += 2
		default: // \n and the like are not printable
			return text
		}
	}
	name := b.String()
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	return name
}

// State is what is known of an interface. The zero State is one that nothing is
// known of yet.
type State struct {
	// Connected says that the handshake is done; SSID is the network's name then.
	Connected bool
	SSID      string
	// Signal is its strength in dBm, 0 when it is not known.
	Signal int
	// Reason says why it is not connected, and what to do.
	Reason string
}

// Reasons why an interface is not connected.
const (
	reasonSearching   = "looking for its networks"
	reasonNotFound    = "none of its networks is in reach"
	reasonConnecting  = "connecting"
	reasonOff         = "is switched off: use the machine's switch or key for Wi-Fi"
	reasonLost        = "the connection was lost"
	reasonPassword    = "the password of %s is wrong"
	reasonRefused     = "the access point of %s refuses the connection"
	reasonNoAnswer    = "the access point of %s does not answer"
	reasonScanFailure = "cannot look for networks (%s)"
)

// Event returns the state after an event, the text of an unsolicited message.
func (s State) Event(message string) State {
	if strings.HasPrefix(message, "<") { // the priority
		if _, rest, ok := strings.Cut(message, ">"); ok {
			message = rest
		}
	}
	name, rest, _ := strings.Cut(message, " ")
	switch name {
	case "CTRL-EVENT-CONNECTED":
		return State{Connected: true, SSID: s.SSID, Signal: s.Signal}
	case "CTRL-EVENT-DISCONNECTED":
		if s.Connected {
			return State{Reason: reasonLost}
		}
	case "CTRL-EVENT-NETWORK-NOT-FOUND":
		if !s.Connected && !s.blamed() {
			return State{Reason: reasonNotFound}
		}
	case "CTRL-EVENT-SCAN-FAILED":
		if !s.Connected {
			return State{Reason: fmt.Sprintf(reasonScanFailure, strings.TrimSpace(rest))}
		}
	case "CTRL-EVENT-SSID-TEMP-DISABLED":
		return State{Reason: disabled(rest)}
	case "CTRL-EVENT-AUTH-REJECT":
		// transaction 2 of SAE is its confirmation, which the password is for
		if words := strings.Fields(rest); slices.Contains(words, "auth_type=3") && slices.Contains(words, "auth_transaction=2") {
			return State{Reason: fmt.Sprintf(reasonPassword, "the network")}
		}
	}
	return s
}

// Status returns the state after the reply to STATUS. A reason that an event gave
// stays until there is a connection.
func (s State) Status(reply string) State {
	fields := Fields(reply)
	switch fields["wpa_state"] {
	case "COMPLETED":
		return State{Connected: true, SSID: Name(fields["ssid"]), Signal: s.Signal}
	case "INTERFACE_DISABLED":
		return State{Reason: reasonOff}
	case "SCANNING", "DISCONNECTED", "INACTIVE":
		if s.Reason == "" || s.Connected || s.Reason == reasonOff || s.Reason == reasonConnecting {
			return State{Reason: reasonSearching}
		}
		return State{Reason: s.Reason}
	case "AUTHENTICATING", "ASSOCIATING", "ASSOCIATED", "4WAY_HANDSHAKE", "GROUP_HANDSHAKE":
		if s.blamed() {
			return s
		}
		return State{Reason: reasonConnecting}
	}
	return s
}

// blamed reports whether the reason is one that a search, which follows every
// failure, does not make out of date.
func (s State) blamed() bool {
	for _, reason := range []string{reasonPassword, reasonRefused, reasonNoAnswer} {
		begin, end, _ := strings.Cut(reason, "%s")
		if strings.HasPrefix(s.Reason, begin) && strings.HasSuffix(s.Reason, end) {
			return true
		}
	}
	return false
}

// disabled says why wpa_supplicant leaves a network alone for a while: the rest of
// CTRL-EVENT-SSID-TEMP-DISABLED, id=0 ssid="NAME" auth_failures=1 duration=10
// reason=WRONG_KEY.
func disabled(rest string) string {
	name := "the network"
	if _, after, ok := strings.Cut(rest, `ssid="`); ok {
		if i := strings.LastIndex(after, `" auth_failures=`); i >= 0 {
			name = strconv.Quote(Name(after[:i]))
		}
	}
	reason := rest[strings.LastIndexByte(rest, '=')+1:]
	switch strings.TrimSpace(reason) {
	case "WRONG_KEY":
		return fmt.Sprintf(reasonPassword, name)
	case "CONN_FAILED":
		return fmt.Sprintf(reasonNoAnswer, name)
	}
	return fmt.Sprintf(reasonRefused, name)
}
