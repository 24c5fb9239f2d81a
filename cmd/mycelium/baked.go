package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

// bakedFlags say what the configuration on a disk is.
type bakedFlags struct {
	contextFlags
	invite, config, hostname string
	// installer makes a medium that installs: installerWaits, or the disk as in
	// config.Install.
	installer string
	// makeInvite lets --invite be "auto".
	makeInvite bool
	wifi       wifiFlags
}

func (b *bakedFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&b.network, "network", "", "the network that the disk's machines are for")
	f.StringVar(&b.invite, "invite", "", "file with a token of \"mycelium invite\" that lets them in (- is standard input)")
	f.StringVar(&b.config, "config", "", "file with the configuration to begin with (network addresses, time servers, …)")
	f.StringVar(&b.hostname, "hostname", "", "the node's name: for a disk of one machine")
	b.wifi.register(cmd)
	if err := cmd.RegisterFlagCompletionFunc("network", completeNetworks); err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
}

// installerWaits is the value of --installer for a medium that waits to be told the disk.
const installerWaits = "wait"

// registerInstaller is for what writes a medium that machines start from.
func (b *bakedFlags) registerInstaller(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&b.installer, "installer", "", "make a medium that runs from memory and installs: onto auto, a disk's name, serial:…, model:… or size:…; without a value when it is told to")
	f.Lookup("installer").NoOptDefVal = installerWaits
}

// given reports whether anything is asked for.
func (b *bakedFlags) given() bool {
	return b.network+b.invite+b.config+b.hostname+b.installer != "" || b.wifi.given()
}

// check says what is wrong with the flags in themselves.
func (b *bakedFlags) check() error {
	switch {
	case b.network == "" && b.invite != "":
		return errors.New("--invite is of use together with --network NAME alone")
	case b.config == "-" && b.invite == "-" || b.wifi.passwordFile == "-" && (b.config == "-" || b.invite == "-"):
		return errors.New("of --config, --invite and --wifi-password-file only one can be standard input")
	}
	return b.wifi.check()
}

// document is the configuration that the flags ask for: what --config names, else base, else
// the example, and what the other flags add. It is nothing when no flag is given. The
// current network does not count: what is built from the same source shall be the same.
func (b *bakedFlags) document(cmd *cobra.Command, base []byte) ([]byte, error) {
	if err := b.check(); err != nil || !b.given() {
		return nil, err
	}
	if err := b.wifi.ask(cmd); err != nil {
		return nil, err
	}
	document := base
	if len(document) == 0 {
		document = disk.ExampleConfig
	}
	if b.config != "" {
		var err error
		if document, err = readDocument(b.config, cmd.InOrStdin()); err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
	}
	c, err := config.Parse(document)
	if err := tellMistakes(cmd.ErrOrStderr(), b.sourceName(), err); err != nil {
		return nil, err
	}
	return b.amend(cmd, document, c)
}

// sourceName is what the document to begin with is called.
func (b *bakedFlags) sourceName() string {
	if b.config == "" {
		return "mycelium.yaml"
	}
	return b.config
}

// amend appends what the flags add to a document, whose content is c.
func (b *bakedFlags) amend(cmd *cobra.Command, document []byte, c *config.Config) ([]byte, error) {
	out := bytes.NewBuffer(slices.Clone(document))
	if n := out.Len(); n > 0 && document[n-1] != '\n' {
		out.WriteByte('\n')
	}
	if b.hostname != "" {
		if c.Hostname != "" {
			return nil, fmt.Errorf("--hostname %s: %s says %q already", b.hostname, b.sourceName(), c.Hostname)
		}
		fmt.Fprintf(out, "\nhostname: %q\n", b.hostname)
	}
	if b.network != "" {
		if m := c.Membership; m.Network != "" || m.Invite != "" || len(m.Peers) > 0 {
			return nil, fmt.Errorf("--network %s: %s has a membership already: leave one of the two out", b.network, b.sourceName())
		}
		text, err := b.membership(cmd)
		if err != nil {
			return nil, err
		}
		out.WriteString(text)
	}
	wifi, err := b.wifi.section(c, b.sourceName())
	if err != nil {
		return nil, err
	}
	out.WriteString(wifi)
	if b.installer != "" {
		if c.Install.IsLive() {
			return nil, fmt.Errorf("--installer: %s has a section install already", b.sourceName())
		}
		order := "live: true"
		if b.installer != installerWaits {
			order = fmt.Sprintf("disk: %q", b.installer)
		}
		fmt.Fprintf(out, "\ninstall:\n  %s\n", order)
	}
	if _, err := config.Parse(out.Bytes()); err != nil {
		return nil, fmt.Errorf("make the configuration: %w", err)
	}
	return out.Bytes(), nil
}

// membership is the section of that name.
func (b *bakedFlags) membership(cmd *cobra.Command) (string, error) {
	n, err := b.openStale(cmd)
	if err != nil {
		return "", err
	}
	id := n.Verifier.Network()
	n.Close()
	text := fmt.Sprintf("\nmembership:\n  network: %s\n", id)
	if b.invite != "" {
		token, err := b.token(cmd, id)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("  invite: %s\n", token.Reveal())
	}
	return text, nil
}

// token is what --invite names, or a new one.
func (b *bakedFlags) token(cmd *cobra.Command, id identity.NetworkID) (identity.Token, error) {
	if !b.makeInvite || b.invite != "auto" {
		return readInvite(cmd, b.invite, id)
	}
	token, by, err := invite(cmd, &b.contextFlags, false, inviteTerms{identity.Agent, 1, 24 * time.Hour})
	if err != nil {
		return identity.Token{}, fmt.Errorf("make an invite: %w", err)
	}
	inv := token.Invite()
	fmt.Fprintf(cmd.ErrOrStderr(), "Invite %016x by %s is on the disk: one machine can join with it until %s.\n", inv.ID, by, day(inv.Expires))
	return token, nil
}

// readInvite reads a token that lets machines into the network id now.
func readInvite(cmd *cobra.Command, path string, id identity.NetworkID) (identity.Token, error) {
	token, err := readToken(cmd, path)
	if err != nil {
		return identity.Token{}, fmt.Errorf("%w: make one with \"mycelium invite > FILE\"", err)
	}
	inv := token.Invite()
	switch {
	case inv.Network != id:
		return identity.Token{}, fmt.Errorf("read the invite %s: %w: it is to %s, not %s", path, identity.ErrWrongNetwork, inv.Network, id)
	case !time.Now().Before(inv.Expires):
		return identity.Token{}, fmt.Errorf("read the invite %s: %w: it ended at %s: make another one with \"mycelium invite\"", path, identity.ErrExpired, day(inv.Expires))
	}
	return token, nil
}
