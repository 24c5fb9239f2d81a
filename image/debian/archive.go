package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// keyring verifies the archive's signatures; package debian-archive-keyring.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// entry is one archive that the machine's apt is set up with.
type entry struct {
	uri, suite string
	components []string
}

// Archive says where the suites are. URIs have no trailing slash.
type Archive struct {
	// Main holds releases, their updates and backports; Security the suites
	// that end in "-security". Security may be empty.
	Main, Security string
	// options are what follows "deb" in brackets in a source line.
	options string
}

// FindArchive reads from the machine's apt sources where Debian's archive is.
func FindArchive(ctx context.Context) (Archive, error) {
	list, parts, err := sourcePaths(ctx)
	if err != nil {
		return Archive{}, err
	}
	names, err := filepath.Glob(filepath.Join(parts, "*"))
	if err != nil {
		return Archive{}, err
	}
	sort.Strings(names)
	var entries []entry
	for _, name := range append([]string{list}, names...) {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return Archive{}, fmt.Errorf("read the apt sources: %w", err)
		}
		e, err := parseSources(name, string(b))
		if err != nil {
			return Archive{}, fmt.Errorf("read the apt sources %s: %w", name, err)
		}
		entries = append(entries, e...)
	}
	a, err := chooseArchive(entries)
	if err != nil {
		return Archive{}, err
	}
	a.options = "signed-by=" + keyring
	return a, nil
}

// sourcePaths asks apt for its sources file and directory.
func sourcePaths(ctx context.Context) (list, parts string, err error) {
	out, err := exec.CommandContext(ctx, "apt-config", "shell",
		"list", "Dir::Etc::sourcelist/f", "parts", "Dir::Etc::sourceparts/d").Output()
	if err != nil {
		return "", "", fmt.Errorf("ask apt-config for the apt sources (is this a Debian machine?): %w", err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		name, value, _ := strings.Cut(line, "=")
		switch value = strings.Trim(value, "'"); name {
		case "list":
			list = value
		case "parts":
			parts = value
		}
	}
	return list, parts, nil
}

// parseSources reads an apt sources file: deb822 in *.sources, one line a
// source in *.list; other names are ignored, as apt does.
func parseSources(name, text string) ([]entry, error) {
	switch filepath.Ext(name) {
	case ".sources":
		return parseSourcesDeb822(text)
	case ".list":
		return parseSourcesList(text), nil
	}
	return nil, nil
}

func parseSourcesDeb822(text string) ([]entry, error) {
	var entries []entry
	err := readControl(strings.NewReader(text), func(p paragraph) error {
		if v := strings.ToLower(p["Enabled"]); v == "no" || v == "false" {
			return nil
		}
		for _, uri := range strings.Fields(p["URIs"]) {
			for _, suite := range strings.Fields(p["Suites"]) {
				entries = append(entries, entry{uri: strings.TrimRight(uri, "/"), suite: suite, components: strings.Fields(p["Components"])})
			}
		}
		return nil
	})
	return entries, err
}

func parseSourcesList(text string) []entry {
	var entries []entry
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if i, j := strings.IndexByte(line, '['), strings.IndexByte(line, ']'); i >= 0 && j > i {
			line = line[:i] + line[j+1:]
		}
		f := strings.Fields(line)
		if len(f) < 4 || f[0] != "deb" && f[0] != "deb-src" {
			continue
		}
		entries = append(entries, entry{uri: strings.TrimRight(f[1], "/"), suite: f[2], components: f[3:]})
	}
	return entries
}

// chooseArchive picks the archives of Debian itself: those with a component
// "main". A foreign one that uses the same word fails on Debian's signature.
func chooseArchive(entries []entry) (Archive, error) {
	var a Archive
	for _, e := range entries {
		if !contains(e.components, "main") {
			continue
		}
		into := &a.Main
		if strings.HasSuffix(strings.TrimSuffix(e.suite, "/updates"), "-security") || strings.HasSuffix(e.suite, "/updates") {
			into = &a.Security
		}
		if *into == "" {
			*into = e.uri
		}
	}
	if a.Main == "" {
		return Archive{}, errors.New("the apt sources name no archive with the component main: set up Debian's archive in /etc/apt")
	}
	return a, nil
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// base returns the archive that holds suite.
func (a Archive) base(suite string) (string, error) {
	if !strings.HasSuffix(suite, "-security") {
		return a.Main, nil
	}
	if a.Security == "" {
		return "", fmt.Errorf("suite %s: the apt sources name no security archive", suite)
	}
	return a.Security, nil
}

// download gets uri into the file dst through apt's own transports, with the
// machine's proxies and credentials.
func download(ctx context.Context, uri, dst string) error {
	var msg strings.Builder
	cmd := exec.CommandContext(ctx, "/usr/lib/apt/apt-helper", "-q",
		"-o", "APT::Sandbox::User="+userName(), "download-file", uri, dst)
	cmd.Stdout, cmd.Stderr = io.Discard, &msg
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(msg.String()))
	}
	return nil
}

// userName is the user that apt's transports run as: ourselves, so that they
// can write where we can.
func userName() string {
	if os.Getuid() == 0 {
		return "root"
	}
	return ""
}
