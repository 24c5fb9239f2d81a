package lab

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/digital-mycelium/os/pkg/qemu"
)

// captureBytes is how much of each frame a capture keeps: the headers.
const captureBytes = 128

// Capture has QEMU record what passes the machine's LAN interface into a file
// (pcap) until the machine ends or stop is called.
func (m *Machine) Capture(ctx context.Context, file string) (stop func(context.Context) error, err error) {
	const id = "capture"
	_, err = m.Monitor(ctx, "object-add", map[string]any{
		"qom-type": "filter-dump", "id": id, "netdev": qemu.LAN, "file": file, "maxlen": captureBytes,
	})
	return func(ctx context.Context) error {
		_, err := m.Monitor(ctx, "object-del", map[string]any{"id": id})
		return err
	}, err
}

// Frame is an Ethernet frame.
type Frame struct {
	From, To net.HardwareAddr
	// Type is the EtherType.
	Type uint16
	// Data is what follows the header, as far as the capture keeps it.
	Data []byte
}

// Neighbours reports whether the frame asks for, or tells, the hardware address
// of an IP address (ARP; ICMPv6 types 133 to 137, RFC 4861), which every machine
// on a segment does.
func (f Frame) Neighbours() bool {
	const arp, ipv6, icmpv6 = 0x0806, 0x86dd, 58
	return f.Type == arp || f.Type == ipv6 && len(f.Data) > 40 && f.Data[6] == icmpv6 && f.Data[40] >= 133 && f.Data[40] <= 137
}

// Multicast reports whether the frame is for more than one machine.
func (f Frame) Multicast() bool { return f.To[0]&1 == 1 }

// Continues reports whether the frame is a segment of a TCP connection that was
// opened with another one (RFC 9293, 3.5): no talk unless that one was.
func (f Frame) Continues() bool {
	const tcp, ipv4, ipv6, syn = 6, 0x0800, 0x86dd, 0x02
	head := 0
	switch {
	case f.Type == ipv4 && len(f.Data) >= 20 && f.Data[9] == tcp:
		head = int(f.Data[0]&15) * 4
	case f.Type == ipv6 && len(f.Data) >= 40 && f.Data[6] == tcp:
		head = 40
	default:
		return false
	}
	return len(f.Data) >= head+14 && f.Data[head+13]&syn == 0
}

// ReadCapture returns the frames of a pcap file of Ethernet.
func ReadCapture(file string) ([]Frame, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var head [24]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("%s is no capture: %w", file, err)
	}
	if binary.LittleEndian.Uint32(head[:]) != 0xa1b2c3d4 || binary.LittleEndian.Uint32(head[20:]) != 1 {
		return nil, fmt.Errorf("%s is no capture of Ethernet in this machine's byte order", file)
	}
	var frames []Frame
	for {
		var record [16]byte
		if _, err := io.ReadFull(r, record[:]); errors.Is(err, io.EOF) {
			return frames, nil
		} else if errors.Is(err, io.ErrUnexpectedEOF) {
			return frames, nil // being written
		} else if err != nil {
			return nil, err
		}
		data := make([]byte, min(binary.LittleEndian.Uint32(record[8:]), 64<<10))
		if _, err := io.ReadFull(r, data); err != nil {
			return frames, nil // being written
		}
		if len(data) >= 14 {
			frames = append(frames, Frame{To: data[:6], From: data[6:12], Type: binary.BigEndian.Uint16(data[12:]), Data: data[14:]})
		}
	}
}
