package netboot

import (
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// piImage has these files, and a command line.
func piImage(files fs.FS) *PiImage {
	return &PiImage{
		Name: "rpi 1.0.0", Files: files, CommandLine: "console=tty0", CommandLineFile: "cmdline.txt",
		System: []string{"kernel8.img", "initramfs"},
	}
}

// piFiles are those of an image with everything that a Raspberry Pi 3 and 4 need.
func piFiles() fstest.MapFS {
	files := fstest.MapFS{}
	for _, name := range []string{
		"config.txt", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat",
		"bcm2837-rpi-3-b-plus.dtb", "bcm2711-rpi-4-b.dtb", "kernel8.img", "initramfs",
	} {
		files[name] = &fstest.MapFile{Data: []byte(strings.Repeat(name+" ", 1000))}
	}
	return files
}

// read fetches a file as TFTP does.
func read(c *Config, name, from string) (string, error) {
	f, size, err := c.OpenTFTP(name, netip.MustParseAddr(from))
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err == nil && size != int64(len(content)) {
		err = errors.New("another size than was said")
	}
	return string(content), err
}

// TestPiCommandLine: each machine has its own, with the word that its configuration
// is fetched by; asking again in the same boot changes nothing.
func TestPiCommandLine(t *testing.T) {
	now := started
	c := site(map[string]MAC{one: {2: 1}, two: {2: 2}, three: {2: 3}})
	c.Pi = piImage(piFiles())
	c.Machines.Now = func() time.Time { return now }
	c.Host = func(m MAC) (Host, error) {
		switch m {
		case MAC{2: 1}:
			return Host{Config: []byte("document")}, nil
		case MAC{2: 2}:
			return Host{}, errors.New("its file is wrong")
		}
		return Host{}, nil
	}
	pattern := regexp.MustCompile(`^console=tty0 mycelium\.live mycelium\.config=http://192\.168\.77\.1:6469(/config\?t=\w+)#sha256=[0-9a-f]{64}\n$`)
	line, err := read(c, "9f3a1b2c/cmdline.txt", one)
	found := pattern.FindStringSubmatch(line)
	if err != nil || found == nil {
		t.Fatalf("%q, %v", line, err)
	}
	if again, err := read(c, "cmdline.txt", one); err != nil || again != line {
		t.Errorf("asked again: %q, %v", again, err)
	}
	if w := ask(c, two, "GET", found[1], ""); w.Code == 200 {
		t.Error("another machine gets the configuration")
	}
	if w := ask(c, one, "GET", found[1], ""); w.Body.String() != "document" {
		t.Errorf("configuration: %d, %q", w.Code, w.Body)
	}
	if m := c.Machines.List()[0]; m.State != Configured || m.Way != Pi || m.Address.String() != one {
		t.Errorf("%+v", m)
	}
	now = now.Add(piAgain)
	if later, err := read(c, "cmdline.txt", one); err != nil || later == line {
		t.Errorf("at the next boot: %q, %v", later, err)
	}
	if w := ask(c, one, "GET", found[1], ""); w.Code == 200 {
		t.Error("the word of an earlier boot still counts")
	}
	if got, err := read(c, "cmdline.txt", three); err != nil || got != "console=tty0 mycelium.live\n" {
		t.Errorf("without a configuration: %q, %v", got, err)
	}
}

// TestPiRefusals: a machine that cannot be given what is meant for it gets no file.
func TestPiRefusals(t *testing.T) {
	c := site(people())
	c.Pi = piImage(piFiles())
	for _, name := range []string{"start4.elf", "cmdline.txt", "kernel8.img"} {
		for from, want := range map[string]string{one: "cannot install itself", two: "its file is wrong"} {
			if _, err := read(c, name, from); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s for %s: %v", name, from, err)
			}
			for _, m := range c.Machines.List() {
				if m.MAC == people()[from] && !strings.Contains(m.Problem, want) {
					t.Errorf("%s: problem %q, want %q", from, m.Problem, want)
				}
			}
		}
		if _, err := read(c, name, stranger); !errors.Is(err, errStranger) {
			t.Errorf("%s for a stranger: %v", name, err)
		}
	}
	if n := len(c.Machines.List()); n != 2 {
		t.Errorf("%d machines", n)
	}
	c.Neighbour = nil
	if _, err := read(c, "start4.elf", three); !errors.Is(err, errStranger) {
		t.Errorf("without neighbours: %v", err)
	}
}

func TestPiImageCheck(t *testing.T) {
	if err := piImage(piFiles()).Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*PiImage){
		"one line":     func(i *PiImage) { i.CommandLine = "a\nb" },
		"no initramfs": func(i *PiImage) { delete(i.Files.(fstest.MapFS), "initramfs") },
	} {
		i := piImage(piFiles())
		change(i)
		if err := i.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
