package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/sys/unix"
)

// unseal returns what an age file holds.
func unseal(t *testing.T, path, identityFile string) string {
	t.Helper()
	sealed, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer sealed.Close()
	f, err := os.Open(identityFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ids, err := age.ParseIdentities(f)
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(armor.NewReader(sealed), ids...)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// No secret is in any output or file but those that are there for it.
func TestNetworkSecretsStayWhereTheyBelong(t *testing.T) {
	d := newDesk(t)
	const typed = "typed-secret-passphrase"
	phrase := d.write("phrase", typed+"\n")
	var shown strings.Builder // standard output, where it is not a secret itself
	run := func(line string) {
		out, _ := d.run(line)
		shown.WriteString(out)
	}
	run("network create typed --passphrase-file " + phrase)
	generated, _ := d.run("network create made --generate-passphrase")
	if len(generated) < 26 || strings.Count(generated, "\n") != 1 {
		t.Errorf("generated passphrase %q", generated)
	}
	run("network create home --recipient " + d.recipient)
	token, _ := d.run("invite --network home")
	access := filepath.Join(d.dir, "access")
	run("network certificate --network home --role admin --name eve --out " + access + " --recipient " + d.recipient)
	run("network import " + access + " --name eves --identity " + d.identity)
	run("network rotate --network home --identity " + d.identity + " --recipient " + d.recipient)
	key, _ := d.run("network key")
	run("network certificate --network home --role reader --name bob --public-key " + key)
	for _, name := range []string{"typed", "made", "home", "eves"} {
		for _, o := range []string{"table", "json", "yaml"} {
			run("network show -o " + o + " " + name)
		}
	}
	run("network list -o json")
	d.refused("", "network delegate --network made --passphrase-file "+phrase, "passphrase is wrong")
	d.refused("", "network create x --recipient "+strings.TrimSpace(readText(t, d.identity)), "--recipient")
	d.refused("", "network delegate --network home --identity "+d.write("damaged", readText(t, d.identity)[:40]), "damaged")

	secrets := map[string]string{
		"typed passphrase": typed, "generated passphrase": strings.TrimSpace(generated), "token": strings.TrimSpace(token),
		"age identity": strings.TrimSpace(readText(t, d.identity)), "half an age identity": readText(t, d.identity)[:40],
	}
	for _, file := range []string{"home/root-1.age", "home/root-2.age"} {
		secrets[file] = unseal(t, d.network(file), d.identity)
	}
	for _, network := range []string{"typed", "made", "home", "eves", ".self"} {
		local := d.network(network, "local.key")
		_, line, _ := strings.Cut(strings.TrimSpace(readText(t, local)), "\n")
		secrets[network+"'s local key"] = line
		for _, file := range []string{"issuer.age", "operator.age"} {
			if _, err := os.Stat(d.network(network, file)); err == nil {
				secrets[network+"'s "+file] = unseal(t, d.network(network, file), local)
			}
		}
	}
	for name, s := range secrets {
		if line, digits, ok := strings.Cut(strings.TrimSpace(s), "\n"); ok && strings.HasPrefix(line, "mycelium") {
			seed, err := hex.DecodeString(digits)
			if err != nil {
				t.Fatal(err)
			}
			secrets[name], secrets[name+" in bytes"] = digits, string(seed)
		}
	}
	t.Logf("%d secrets", len(secrets))
	places := map[string]string{"standard output": shown.String(), "standard error": d.seen.String()}
	err := filepath.WalkDir(d.network(""), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() == "local.key" {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if !e.IsDir() {
			places[path] = readText(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	places["config"] = readText(t, filepath.Join(d.dir, "config/mycelium/config.yaml"))
	places["access"] = readText(t, access)
	for place, text := range places {
		for name, s := range secrets {
			if strings.Contains(strings.ToLower(text), strings.ToLower(s)) {
				t.Errorf("%s shows the %s", place, name)
			}
		}
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// screen is what a terminal shows.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A passphrase that is typed is asked for twice and not shown.
func TestNetworkPassphraseOnATerminal(t *testing.T) {
	d := newDesk(t)
	master, terminal := openTerminal(t)
	var seen screen
	go func() { _, _ = io.Copy(&seen, master) }() // until the test closes it

	root := newRootCommand()
	root.SetArgs([]string{"network", "create", "home"})
	root.SetIn(terminal)
	root.SetErr(&seen)
	root.SetOut(&seen)
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(t.Context()) }()
	for i, phrase := range []string{"first-phrase", "other-phrase", "third-phrase", "third-phrase"} {
		waitFor(t, func() bool {
			state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
			asked := strings.Count(seen.String(), "New passphrase") + strings.Count(seen.String(), "The same again")
			return err == nil && asked == i+1 && state.Lflag&unix.ECHO == 0
		})
		if _, err := fmt.Fprintln(master, phrase); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	text := seen.String()
	if strings.Contains(text, "-phrase") || strings.Count(text, "The two differ.") != 1 {
		t.Errorf("the terminal shows:\n%s", text)
	}
	d.refused("first-phrase\n", "network delegate --passphrase-file -", "passphrase is wrong")
	if _, _, err := d.try("third-phrase\n", "network delegate --passphrase-file -"); err != nil {
		t.Error(err)
	}
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !what(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing came")
		}
	}
}

// openTerminal makes a pseudo-terminal.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return master, terminal
}
