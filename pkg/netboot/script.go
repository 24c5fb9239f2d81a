package netboot

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
)

// Image is an operating system: one EFI file (a unified kernel image), and for
// firmware without EFI the kernel and the initramfs in it.
type Image struct {
	// Name is for people, such as the board's and the version.
	Name string
	// EFI is the whole file, Linux and Initrd its sections.
	EFI, Linux, Initrd *io.SectionReader
	// CommandLine is the kernel's, of the file's section.
	CommandLine string
	// SHA256 is the file's, in hexadecimal.
	SHA256 string
}

// Check refuses a command line that iPXE would change on its way to the kernel.
func (i *Image) Check() error {
	if strings.Contains(i.CommandLine, "${") || printable(i.CommandLine) != i.CommandLine {
		return fmt.Errorf("the kernel's command line of %s cannot be passed on by iPXE: it holds ${ or something that is not printable", i.Name)
	}
	return nil
}

// Host is what one machine is given.
type Host struct {
	// Config is its configuration, nil for none.
	Config []byte
	// Install is the disk that it installs itself onto, as its kernel argument
	// mycelium.install says; empty for a machine that runs from memory and leaves its
	// disks alone.
	Install string
}

// arguments is what is added to the kernel's command line; word is of Machines.script.
func (h Host) arguments(n Network, i *Image, arch, word string) string {
	args := []string{"mycelium.live"}
	if h.Config != nil {
		args = append(args, fmt.Sprintf("mycelium.config=%s?t=%s#sha256=%x", n.URL(pathConfig), word, sha256.Sum256(h.Config)))
	}
	if h.Install != "" {
		args = append(args,
			"mycelium.install="+h.Install,
			"mycelium.install.image="+n.URL(pathImage+arch+fileEFI),
			"mycelium.install.sha256="+i.SHA256,
			"mycelium.install.report="+n.URL(pathReport)+"?t="+word)
	}
	return strings.Join(args, " ")
}

// The files of an image, below pathImage and the architecture.
const (
	fileEFI    = "/os.efi"
	fileLinux  = "/linux"
	fileInitrd = "/initrd"
)

// script is what iPXE runs to start the image. An EFI program gets the arguments
// of "kernel" as its load options, behind its own name; systemd's stub takes them in
// place of the command line that it holds, so they are all of it. The name has a
// dot, for which the kernel takes it for a parameter of a module that is not there.
func script(n Network, p Platform, i *Image, arguments string) string {
	base := n.URL(pathImage + p.Arch)
	line := strings.TrimSpace(i.CommandLine + " " + arguments)
	var b strings.Builder
	fmt.Fprintf(&b, "#!ipxe\n:again\nimgfree ||\necho %s\n", i.Name)
	if p.EFI {
		fmt.Fprintf(&b, "kernel --name os.efi %s%s %s || goto failed\n", base, fileEFI, line)
	} else {
		fmt.Fprintf(&b, "kernel %s%s %s || goto failed\ninitrd %s%s || goto failed\n", base, fileLinux, line, base, fileInitrd)
	}
	b.WriteString("boot || goto failed\n" +
		":failed\necho This did not work. It is tried again.\n" +
		"prompt --timeout 10000 Press a key to go on with the next boot device. && exit 1 ||\n" +
		"sleep 2 ||\ngoto again\n")
	return b.String()
}

// diskScript lets the machine boot its disk. Firmware with EFI goes on with the
// next boot option when one fails; a BIOS may not, so iPXE starts the disk itself.
func diskScript(p Platform) string {
	const head = "#!ipxe\necho This machine is installed: it boots its disk.\n"
	if p.EFI {
		return head + "exit 1\n"
	}
	return head + "sanboot --no-describe --drive 0x80 || exit 1\n"
}
