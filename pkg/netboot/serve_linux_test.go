package netboot

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/pin/tftp/v3"
)

// TestServeTFTP fetches files as firmware does, with block size and file size.
func TestServeTFTP(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := site(map[string]MAC{"127.0.0.1": {2: 1}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- serveTFTP(ctx, conn, c) }()
	client, err := tftp.NewClient(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	client.SetBlockSize(1432)
	client.RequestTSize(true)
	r, err := client.Receive("snponly.efi", "octet")
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := r.(tftp.IncomingTransfer).Size(); !ok || n != 3 {
		t.Errorf("size %d, %v", n, ok)
	}
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil || b.String() != "snp" {
		t.Errorf("%q, %v", &b, err)
	}
	if _, err := client.Receive("../secret", "octet"); err == nil {
		t.Error("a file outside is served")
	}
	w, err := client.Send("snponly.efi", "octet")
	if err == nil {
		_, err = w.ReadFrom(strings.NewReader("mine"))
	}
	if err == nil {
		t.Error("a file can be written")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// piBoot is what a model asks for, in the order that its firmware's documentation and
// logs of network boots have it; "serial/" is the folder of its serial number, "-" marks
// what is not there, "?" what is asked for its size alone and broken off.
func piBoot(model string) []string {
	if model == "3B+" {
		// The ROM, then bootcode.bin, then start.elf.
		return strings.Fields(`bootcode.bin -bootsig.bin ?serial/start.elf -serial/autoboot.txt serial/config.txt -serial/recovery.elf
			serial/start.elf serial/fixup.dat -serial/recovery.elf serial/config.txt -serial/dt-blob.bin serial/config.txt
			-serial/bootcfg.txt serial/initramfs ?serial/bcm2837-rpi-3-b-plus.dtb serial/bcm2837-rpi-3-b-plus.dtb
			-serial/overlays/overlay_map.dtb ?serial/cmdline.txt serial/cmdline.txt -serial/recovery8.img ?serial/kernel8.img
			-serial/armstub8.bin serial/kernel8.img`)
	}
	// The EEPROM, then start4.elf.
	return strings.Fields(`?serial/start4.elf serial/config.txt -serial/vl805.sig -serial/pieeprom.sig -serial/recover4.elf -serial/recovery.elf
		serial/start4.elf serial/fixup4.dat -serial/dt-blob.bin serial/config.txt -serial/bootcfg.txt serial/bcm2711-rpi-4-b.dtb
		-serial/overlays/overlay_map.dtb ?serial/cmdline.txt serial/cmdline.txt -serial/recovery8.img -serial/armstub8-gic.bin
		?serial/kernel8.img serial/kernel8.img serial/initramfs`)
}

// TestPiBoots starts a Raspberry Pi from the network as far as its firmware goes: what
// it sends by DHCP, then its requests by TFTP, of which many are for files that are not
// there.
func TestPiBoots(t *testing.T) {
	for model, name := range map[string]string{"3B+": "Raspberry Pi 3", "4": "Raspberry Pi 4"} {
		t.Run(model, func(t *testing.T) { bootPi(t, model, machine(name)) })
	}
}

func bootPi(t *testing.T, model string, firmware sent) {
	mac, err := ParseMAC(firmware.mac)
	if err != nil {
		t.Fatal(err)
	}
	c := site(map[string]MAC{"127.0.0.1": mac})
	c.Pi = piImage(piFiles())
	c.Loaders = fstest.MapFS{PiLoader: {Data: []byte("ROM's next")}}
	c.Host = func(MAC) (Host, error) { return Host{Config: []byte("document")}, nil }
	var states []State
	c.Machines.Changed = func(m Machine) {
		if len(states) == 0 || states[len(states)-1] != m.State {
			states = append(states, m.State)
		}
	}
	offer := Decide(firmware.packet(t, dhcpv4.MessageTypeDiscover), PortDHCP, nowhere, c.Network, started)
	c.Machines.asked(offer)
	if !offer.Boots || offer.Packet.TFTPServerName() != server.Addr().String() {
		t.Fatalf("offer: %+v", offer)
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- serveTFTP(ctx, conn, c) }()
	line := ""
	for _, request := range piBoot(model) {
		file := strings.Replace(strings.TrimLeft(request, "-?"), "serial/", "9f3a1b2c/", 1)
		size, content, err := tftpRead(conn.LocalAddr().String(), file, request[0] == '?')
		switch {
		case request[0] == '-':
			if err == nil || !strings.Contains(err.Error(), "no file") {
				t.Errorf("%s, which is not there: %v", file, err)
			}
			continue
		case err != nil || size == 0:
			t.Fatalf("%s: %d bytes, %v", file, size, err)
		case request[0] != '?' && size != len(content):
			t.Errorf("%s: %d of %d bytes", file, len(content), size)
		}
		if strings.HasSuffix(file, "/cmdline.txt") && request[0] != '?' {
			line = string(content)
		}
	}
	if !strings.HasPrefix(line, "console=tty0 mycelium.live mycelium.config=http://") || !strings.HasSuffix(line, "\n") {
		t.Errorf("command line %q", line)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if m := c.Machines.List(); len(m) != 1 || m[0].Way != Pi { // behind it nobody changes states
		t.Errorf("%+v", m)
	}
	if states[0] != Asked || states[len(states)-1] != Started {
		t.Errorf("states: %v", states)
	}
}

// tftpRead fetches a file in blocks of 1024 bytes, as a Raspberry Pi's firmware does, or
// breaks off once it knows the size.
func tftpRead(server, file string, sizeOnly bool) (size int, content []byte, err error) {
	to, err := net.ResolveUDPAddr("udp4", server)
	if err != nil {
		return 0, nil, err
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, nil, err
	}
	packet := []byte("\x00\x01" + file + "\x00octet\x00tsize\x000\x00blksize\x001024\x00")
	for buf := make([]byte, 2048); ; {
		if _, err := conn.WriteTo(packet, to); err != nil {
			return 0, nil, err
		}
		n, from, err := conn.ReadFromUDP(buf)
		if err != nil {
			return 0, nil, err
		}
		to = from
		switch b := buf[:n]; b[1] {
		case 3: // data
			content = append(content, b[4:]...)
			packet = []byte{0, 4, b[2], b[3]}
			if len(b) < 4+1024 {
				_, err := conn.WriteTo(packet, to)
				return size, content, err
			}
		case 5: // error
			return 0, nil, errors.New(strings.TrimRight(string(b[4:]), "\x00"))
		case 6: // the options that the server takes
			words := strings.Split(string(b[2:]), "\x00")
			for i := 0; i+1 < len(words); i += 2 {
				if words[i] == "tsize" {
					if size, err = strconv.Atoi(words[i+1]); err != nil {
						return 0, nil, err
					}
				}
			}
			if sizeOnly {
				_, err := conn.WriteTo([]byte("\x00\x05\x00\x00Early terminate\x00"), to)
				return size, nil, err
			}
			packet = []byte{0, 4, 0, 0}
		}
	}
}
