package flash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// systemBus connects to where udisks is.
func systemBus(ctx context.Context) (*dbus.Conn, error) {
	return dbus.ConnectSystemBus(dbus.WithContext(ctx))
}

// openByUDisks asks udisks (org.freedesktop.UDisks2.Block.OpenDevice, since 2.7.3) for
// a disk. polkit asks the user whether that is right.
func openByUDisks(ctx context.Context, connect func(context.Context) (*dbus.Conn, error), name string) (*os.File, error) {
	conn, err := connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the system bus: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if !conn.SupportsUnixFDs() {
		return nil, errors.New("the system bus passes no open files")
	}
	block := conn.Object("org.freedesktop.UDisks2", dbus.ObjectPath("/org/freedesktop/UDisks2/block_devices/"+objectName(name)))
	options := map[string]dbus.Variant{"flags": dbus.MakeVariant(int32(unix.O_EXCL | unix.O_DIRECT | unix.O_CLOEXEC))}
	var fd dbus.UnixFD
	call := block.CallWithContext(ctx, "org.freedesktop.UDisks2.Block.OpenDevice", dbus.FlagAllowInteractiveAuthorization, "rw", options)
	if err := call.Store(&fd); err != nil {
		return nil, fmt.Errorf("ask udisks: %w", err)
	}
	return os.NewFile(uintptr(fd), "/dev/"+name), nil
}

// objectName writes a device's name as udisks does: other characters than letters,
// digits and "_" as "_" and their number in hex.
func objectName(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "_%02x", c)
	}
	return b.String()
}
