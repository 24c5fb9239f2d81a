package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/secureboot"
)

func newImageSecureBootKeysCommand() *cobra.Command {
	var out, owner string
	cmd := &cobra.Command{
		Use:   "secureboot-keys",
		Short: "Make the keys that images are signed with for UEFI Secure Boot",
		Long: `Make the keys that images are signed with for UEFI Secure Boot.

--out is a new directory; keys are never overwritten. For each of PK, KEK and db it
gets a private key (NAME.key), a certificate (NAME.crt) and the signed update of the
firmware's variable (NAME.auth). "mycelium image build --secureboot-keys" reads db.key,
db.crt and the updates: keep PK.key and KEK.key elsewhere, offline. Whoever has db.key
can have the machines start anything; whoever has PK.key or KEK.key can change whose
programs they start. Without these keys no update can be signed that such a machine
would start: keep a copy.`,
		Example: "  mycelium image secureboot-keys --out keys\n  mycelium image build --board pc --secureboot-keys keys",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := secureboot.Generate(owner, time.Now())
			if err != nil {
				return err
			}
			if err := keys.Save(out); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: keys PK, KEK and db of %q; keep them secret, and a copy in a safe place\n", out, owner)
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "new directory for the keys")
	cmd.Flags().StringVar(&owner, "owner", "Digital Mycelium", "name in the certificates, which firmware menus show")
	if err := cmd.MarkFlagRequired("out"); err != nil {
		panic(err) // a misspelt name above
	}
	return cmd
}
