package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

// networkView is what "network show" and "network list" report.
type networkView struct {
	Name        string               `json:"name"`
	Current     bool                 `json:"current"`
	Directory   string               `json:"directory"`
	ID          string               `json:"id,omitempty"`
	Roots       []networks.Root      `json:"roots,omitempty"`
	Issuers     []issuerView         `json:"issuers,omitempty"`
	Certificate *certificateView     `json:"certificate,omitempty"`
	RevokedKeys []identity.PublicKey `json:"revokedKeys,omitempty"`
	Revoked     []uint64             `json:"revokedSerials,omitempty"`
	// Problems say what does not work now and what to do.
	Problems []string `json:"problems"`
}

type issuerView struct {
	Key       identity.PublicKey `json:"key"`
	API       identity.APIRole   `json:"api"`
	Node      identity.NodeRole  `json:"node"`
	NotBefore time.Time          `json:"notBefore"`
	NotAfter  time.Time          `json:"notAfter"`
	Quota     uint64             `json:"quota"`
	// Left is how many certificates it may still make; absent when the issuer is not here.
	Left *uint64 `json:"left,omitempty"`
	// Servers says that it is the issuer of the network's servers, HandedOver that
	// one of them has its key.
	Servers    bool `json:"servers"`
	HandedOver bool `json:"handedOver"`
}

func newIssuerView(d identity.Delegation) issuerView {
	return issuerView{Key: d.Issuer, API: d.Caps.API, Node: d.Caps.Node, NotBefore: d.NotBefore.UTC(), NotAfter: d.NotAfter.UTC(), Quota: d.Count}
}

type certificateView struct {
	Name      string             `json:"name"`
	Role      identity.APIRole   `json:"role"`
	Serial    uint64             `json:"serial"`
	Key       identity.PublicKey `json:"key"`
	NotBefore time.Time          `json:"notBefore"`
	NotAfter  time.Time          `json:"notAfter"`
}

// view reports about an open network, and renews the operator's certificate when
// it is time.
func view(n *networks.Network) networkView {
	v := networkView{Name: n.Name, Directory: n.Dir, ID: n.Verifier.Network().String(), Roots: n.Roots(), Problems: []string{}}
	if _, err := n.Renew(); err != nil {
		v.Problems = append(v.Problems, err.Error())
	}
	d := n.Delegation()
	i := newIssuerView(d)
	if n.Issuer != nil {
		left := n.Issuer.Left()
		i.Left = &left
		if err := n.CanIssue(); err != nil {
			v.Problems = append(v.Problems, err.Error())
		} else if last := v.Roots[len(v.Roots)-1]; d.Root != last.Key {
			v.Problems = append(v.Problems, fmt.Sprintf("the issuer's delegation is by an earlier root key: mycelium network delegate --network %s", n.Name))
		}
	}
	c := n.Certificate()
	v.Issuers = []issuerView{i}
	if d, gone := n.ServersDelegation(); d != nil {
		s := newIssuerView(*d)
		s.Servers, s.HandedOver = true, gone
		v.Issuers = append(v.Issuers, s)
	}
	v.Certificate = &certificateView{c.Name, c.Caps.API, c.Serial, c.Key, c.NotBefore.UTC(), c.NotAfter.UTC()}
	v.RevokedKeys, v.Revoked = n.Revoked()
	return v
}

func newNetworkShowCommand(flags *contextFlags) *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:               "show [NAME]",
		Short:             "Show a network's id, keys, quota and your certificate",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeNetworks,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				flags.network = args[0]
			}
			n, err := flags.openStale(cmd)
			if err != nil {
				return err
			}
			defer n.Close()
			v := view(n)
			if now, err := chosen(); err == nil {
				v.Current = now == v.Name
			}
			return format.write(cmd.OutOrStdout(), v, func(w io.Writer) error { return writeNetwork(w, v) })
		},
	}
	format.register(cmd)
	flags.register(cmd)
	return cmd
}

func writeNetwork(w io.Writer, v networkView) error {
	rows := [][]string{{"network", v.Name}, {"id", v.ID}, {"directory", v.Directory}}
	for _, r := range v.Roots {
		until := "in force"
		if r.Until != nil {
			until = "replaced, counts until " + day(*r.Until)
		}
		rows = append(rows, []string{fmt.Sprintf("root key %d", r.Number), r.Key.String() + "  " + until})
	}
	for _, i := range v.Issuers {
		rows = append(rows, []string{i.title(), i.Key.String() + "  until " + day(i.NotAfter)}, []string{"quota", i.quota()})
	}
	c := v.Certificate
	rows = append(rows,
		[]string{"your key", c.Key.String()},
		[]string{"your certificate", fmt.Sprintf("%s, %s, serial number %d, until %s", c.Name, c.Role, c.Serial, day(c.NotAfter))})
	for _, k := range v.RevokedKeys {
		rows = append(rows, []string{"revoked", k.String()})
	}
	for _, s := range v.Revoked {
		rows = append(rows, []string{"revoked", fmt.Sprintf("serial number %d", s)})
	}
	for _, p := range v.Problems {
		rows = append(rows, []string{"problem", p})
	}
	return writeTable(w, rows)
}

func (i issuerView) title() string {
	if i.Servers {
		return "servers' issuer"
	}
	return "issuer"
}

func (i issuerView) quota() string {
	switch {
	case i.Left != nil:
		return fmt.Sprintf("%d of %d certificates left", *i.Left, i.Quota)
	case i.Servers && !i.HandedOver:
		return fmt.Sprintf("%d certificates, for the first server, which gets its key when it is enrolled", i.Quota)
	}
	return "known to its issuer alone"
}

func newNetworkListCommand() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List your networks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			views, err := viewAll(cmd)
			if err != nil {
				return err
			}
			return format.write(cmd.OutOrStdout(), views, func(w io.Writer) error { return writeNetworks(w, views) })
		},
	}
	format.register(cmd)
	return cmd
}

// viewAll reports about every network; a damaged one does not hide the others.
func viewAll(cmd *cobra.Command) ([]networkView, error) {
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	names, err := store.List()
	if err != nil {
		return nil, err
	}
	now, err := chosen()
	if err != nil {
		return nil, err
	}
	views := []networkView{}
	for _, name := range names {
		n, err := store.Open(cmd.Context(), name)
		if ctxErr := cmd.Context().Err(); ctxErr != nil {
			return nil, ctxErr
		}
		dir, _ := store.Path(name)
		v := networkView{Name: name, Directory: dir}
		if err == nil {
			v = view(n)
			n.Close()
		} else {
			v.Problems = append(v.Problems, err.Error())
		}
		v.Current = name == now
		views = append(views, v)
	}
	return views, nil
}

func writeNetworks(w io.Writer, views []networkView) error {
	if len(views) == 0 {
		_, err := fmt.Fprintln(w, "No networks: found one with mycelium network create NAME")
		return err
	}
	rows := [][]string{{"CURRENT", "NAME", "ID", "ROLE", "CERTIFICATE UNTIL", "QUOTA LEFT"}}
	var problems []string
	for _, v := range views {
		row := []string{"", v.Name, cmp.Or(v.ID, "-"), "-", "-", "-"}
		if v.Current {
			row[0] = "*"
		}
		if c := v.Certificate; c != nil {
			row[3], row[4] = c.Role.String(), day(c.NotAfter)
		}
		if len(v.Issuers) > 0 && v.Issuers[0].Left != nil {
			row[5] = fmt.Sprint(*v.Issuers[0].Left)
		}
		rows = append(rows, row)
		for _, p := range v.Problems {
			problems = append(problems, v.Name+": "+p+"\n")
		}
	}
	if err := writeTable(w, rows); err != nil {
		return err
	}
	_, err := io.WriteString(w, strings.Join(problems, ""))
	return err
}
