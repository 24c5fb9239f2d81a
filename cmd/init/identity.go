package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/durable"
)

const machineIDPath = "/state/machine-id"

// identify gives the node its machine id, its name, and the rest of what its
// status says about it.
func (m *machine) identify(ctx context.Context) error {
	if !waitRandom(ctx, 2*time.Minute) {
		return errors.New("the kernel has no randomness after two minutes: nothing secret can be made (give the virtual machine a virtio-rng device)")
	}
	id, err := loadMachineID(machineIDPath, m.volumeState("STATE") == "missing")
	if err != nil {
		return err
	}
	if err := os.WriteFile("/run/machine-id", []byte(id+"\n"), 0o444); err != nil {
		return fmt.Errorf("show the machine id: %w", err)
	}
	m.machineID = id
	if err := os.WriteFile("/run/os-release", osReleaseFile(m.version, boardName(m.cmdline)), 0o444); err != nil {
		return fmt.Errorf("show the version: %w", err)
	}
	if err := m.nameHost(); err != nil {
		return err
	}
	m.board.Update(func(s *api.Status) {
		s.MachineID, s.Board = id, boardName(m.cmdline)
		s.BootID = readLine("/proc/sys/kernel/random/boot_id")
		s.Booted = time.Now().Add(-uptime())
	})
	return nil
}

// nameHost gives the node the name that the configuration says, else one of its
// machine id.
func (m *machine) nameHost() error {
	m.hostname = m.config().Hostname
	if m.hostname == "" {
		m.hostname = "mycelium-" + m.machineID[:6]
	}
	if err := unix.Sethostname([]byte(m.hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	m.board.Update(func(s *api.Status) { s.Name = m.hostname })
	return nil
}

// volumeState returns the state of a volume, "" when there is none.
func (m *machine) volumeState(label string) string {
	for _, v := range m.volumes {
		if v.Label == label {
			return v.State
		}
	}
	return ""
}

// hexPattern is the form of a machine id and of the secrets that newHex makes.
var hexPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// newHex returns 16 random bytes in hexadecimal.
func newHex() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails: the program ends instead
	return hex.EncodeToString(raw)
}

// loadMachineID reads the id, or makes and stores one. Without STATE it is
// derived from the firmware's, so that a machine without a disk keeps its name.
func loadMachineID(path string, fromFirmware bool) (string, error) {
	b, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(b)); err == nil && hexPattern.MatchString(id) {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the machine id: %w", err)
	}
	id := ""
	if fromFirmware {
		id = firmwareID(readLine("/sys/class/dmi/id/product_uuid"))
	}
	if id == "" {
		id = newHex()
	}
	if err := durable.WriteFile(path, []byte(id+"\n"), 0o444); err != nil {
		return "", fmt.Errorf("keep the machine id: %w", err)
	}
	return id, nil
}

// firmwareID derives a machine id from the SMBIOS UUID; "" when that is one of
// the values that mean nothing.
func firmwareID(uuid string) string {
	digits := strings.ReplaceAll(strings.ToLower(uuid), "-", "")
	if !hexPattern.MatchString(digits) || strings.Trim(digits, digits[:1]) == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("mycelium-os machine id " + digits))
	return hex.EncodeToString(sum[:16])
}

// boardName says what machine this is: the command line's word, the device
// tree's, the firmware's.
func boardName(c cmdline) string {
	for _, name := range []string{c.board, readLine("/proc/device-tree/model"), readLine("/sys/class/dmi/id/product_name")} {
		if name != "" {
			return name
		}
	}
	return "unknown"
}

// osReleaseFile returns what os-release(5) says of the system; the kubelet
// reports it as the node's.
func osReleaseFile(version, board string) []byte {
	return fmt.Appendf(nil, "ID=mycelium\nNAME=\"Digital Mycelium OS\"\nPRETTY_NAME=\"Digital Mycelium OS %s\"\nVERSION_ID=%q\nVARIANT_ID=%q\n", version, version, board)
}
