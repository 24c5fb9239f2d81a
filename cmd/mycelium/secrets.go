package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

// protectFlags say for whom a secret is encrypted.
type protectFlags struct {
	passphraseFile string
	recipients     []string
	generate       bool
}

// register adds the flags; prefix tells their passphrase file from another one.
func (p *protectFlags) register(cmd *cobra.Command, prefix, what string) {
	f := cmd.Flags()
	f.StringVar(&p.passphraseFile, prefix+"passphrase-file", "", "encrypt "+what+" with the passphrase in this file (- is standard input)")
	f.StringArrayVar(&p.recipients, "recipient", nil, "encrypt "+what+" to this age recipient (age1…); may be repeated")
	f.BoolVar(&p.generate, "generate-passphrase", false, "encrypt "+what+" with a new passphrase, and print that on standard output, once")
	cmd.MarkFlagsMutuallyExclusive(prefix+"passphrase-file", "recipient", "generate-passphrase")
}

// ask returns the age recipients, and the passphrase that it made, which is to
// be shown once all is done.
func (p *protectFlags) ask(cmd *cobra.Command, what string) (to []age.Recipient, generated string, err error) {
	switch {
	case len(p.recipients) > 0:
		to, err := age.ParseRecipients(strings.NewReader(strings.Join(p.recipients, "\n")))
		if err != nil {
			return nil, "", fmt.Errorf("read --recipient: it is not an age recipient (age1…): age-keygen -y shows that of an identity") // the library's error quotes the value, which may be a secret key
		}
		return to, "", nil
	case p.passphraseFile != "":
		phrase, err := passphraseFromFile(cmd, p.passphraseFile)
		return []age.Recipient{identity.NewPassphrase(phrase)}, "", err
	}
	phrase := ""
	if !p.generate {
		if phrase, err = newPassphrase(cmd, what); err != nil {
			return nil, "", err
		}
	}
	if phrase == "" {
		text := strings.ToLower(rand.Text()) // at least 128 bits in 26 characters
		generated = strings.Join([]string{text[:5], text[5:10], text[10:15], text[15:20], text[20:]}, "-")
		phrase = generated
	}
	return []age.Recipient{identity.NewPassphrase(phrase)}, generated, nil
}

// show prints a generated passphrase, alone on standard output.
func (p *protectFlags) show(cmd *cobra.Command, generated, what string) error {
	if generated == "" {
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "The passphrase of %s, shown this once and kept nowhere. Write it down now:\n", what)
	_, err := fmt.Fprintln(cmd.OutOrStdout(), generated)
	return err
}

// newPassphrase asks twice; the empty passphrase means that one is to be generated.
func newPassphrase(cmd *cobra.Command, what string) (string, error) {
	for {
		first, err := readSecret(cmd, "New passphrase for "+what+" (Enter alone: generate one): ")
		if err != nil || first == "" {
			return "", err
		}
		second, err := readSecret(cmd, "The same again: ")
		if err != nil {
			return "", err
		}
		if first == second {
			return first, nil
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "The two differ.")
	}
}

// unlockFlags say what opens something encrypted.
type unlockFlags struct {
	passphraseFile string
	identityFile   string
}

func (u *unlockFlags) register(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&u.passphraseFile, "passphrase-file", "", "open "+what+" with the passphrase in this file (- is standard input)")
	cmd.Flags().StringVar(&u.identityFile, "identity", "", "open "+what+" with the age identities in this file")
	cmd.MarkFlagsMutuallyExclusive("passphrase-file", "identity")
}

func (u *unlockFlags) ask(cmd *cobra.Command, what string) ([]age.Identity, error) {
	if u.identityFile != "" {
		return networks.ReadIdentities(u.identityFile)
	}
	var phrase string
	var err error
	if u.passphraseFile != "" {
		phrase, err = passphraseFromFile(cmd, u.passphraseFile)
	} else {
		phrase, err = readSecret(cmd, "Passphrase of "+what+": ")
	}
	if err != nil {
		return nil, err
	}
	return []age.Identity{identity.NewPassphrase(phrase)}, nil
}

// passphraseFromFile returns the only line of a file.
func passphraseFromFile(cmd *cobra.Command, path string) (string, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("read the passphrase: %w", err)
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			return "", fmt.Errorf("read the passphrase: %w", err)
		}
		if fi.Mode().IsRegular() && fi.Mode().Perm()&0o077 != 0 {
			return "", fmt.Errorf("read the passphrase %s: others can read it (mode %04o): set mode 0600", path, fi.Mode().Perm())
		}
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, 4096))
	if err != nil {
		return "", fmt.Errorf("read the passphrase: %w", err)
	}
	data = bytes.TrimRight(data, "\r\n")
	if len(data) == 0 || bytes.ContainsAny(data, "\r\n") {
		return "", fmt.Errorf("read the passphrase %s: it must be one line and not empty", path)
	}
	return string(data), nil
}

// readSecret asks on the terminal, which does not show what is typed.
func readSecret(cmd *cobra.Command, prompt string) (string, error) {
	f, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", errors.New("a passphrase is needed and there is no terminal to ask on: see the flags in --help")
	}
	fd := int(f.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask for the passphrase: %w", err)
	}
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	defer fmt.Fprintln(cmd.ErrOrStderr())
	type answer struct {
		data []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		data, err := term.ReadPassword(fd)
		answers <- answer{data, err}
	}()
	select {
	case <-cmd.Context().Done(): // the read goes on until the program ends; the echo comes back now
		return "", errors.Join(context.Cause(cmd.Context()), term.Restore(fd, state))
	case a := <-answers:
		if a.err != nil {
			return "", fmt.Errorf("ask for the passphrase: %w", a.err)
		}
		return string(a.data), nil
	}
}

// readLine reads a line of standard input, which may be the last without an end.
func readLine(cmd *cobra.Command) (string, error) {
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		answers <- answer{line, err}
	}()
	select {
	case <-cmd.Context().Done(): // the read goes on until the program ends
		return "", context.Cause(cmd.Context())
	case a := <-answers:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", a.err
		}
		return strings.TrimSpace(a.line), nil
	}
}
