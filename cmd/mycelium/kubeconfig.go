package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauth "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/durable"
)

func newKubeconfigFileCommand() *cobra.Command {
	var flags nodeFlags
	var merge, static bool
	var file string
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Write what kubectl needs to reach the network's cluster",
		Long: `Write what kubectl needs to reach the network's cluster.

kubectl gets your certificate by running "mycelium kubeconfig credential", so
that it is renewed by itself. With --static the certificate and its key stand in
the file instead, for programs elsewhere; they serve until the certificate ends.

-n says which node to go by; without it, the first that answers.`,
		Example: "  mycelium kubeconfig --merge && kubectl get nodes\n  mycelium kubeconfig --output-file home.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fl, nodes, err := flags.all(cmd)
			if err != nil {
				return err
			}
			data, err := flags.kubeconfigBy(cmd, fl, nodes)
			if err != nil {
				return err
			}
			config, err := clientcmd.Load(data)
			if err != nil {
				return fmt.Errorf("read the kubeconfig: %w", err)
			}
			if !static {
				if err := useCredentialCommand(config, fl.name); err != nil {
					return err
				}
			}
			return placeKubeconfig(cmd, config, file, merge)
		},
	}
	flags.register(cmd)
	f := cmd.Flags()
	f.BoolVar(&merge, "merge", false, "put it into your kubeconfig ($KUBECONFIG, else ~/.kube/config) and make it the current context")
	f.StringVarP(&file, "output-file", "o", "", "write it to this file (default: print it)")
	f.BoolVar(&static, "static", false, "put the certificate and its key in")
	cmd.MarkFlagsMutuallyExclusive("merge", "output-file")
	cmd.AddCommand(newCredentialCommand())
	return cmd
}

// kubeconfigBy returns a kubeconfig with the operator's certificate, by way of the
// first of the nodes that has one.
func (f *contextFlags) kubeconfigBy(cmd *cobra.Command, fl *fleet, nodes []nodeRef) ([]byte, error) {
	var errs []error
	for _, n := range nodes {
		ctx, cancel := context.WithTimeout(cmd.Context(), patient)
		w := beginWaiting(cmd, []nodeRef{n})
		if len(n.Addresses) > 0 { // the address that is called must be the one in the file
			n.Addresses = []string{reachable(ctx, n.Addresses)}
		}
		answer, err := call(ctx, fl, n, func(ctx context.Context, c nodeClient) ([]byte, error) { return c.Kubeconfig(ctx) })
		w.stop()
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n.Name, err))
			continue
		}
		network, err := f.open(cmd)
		if err != nil {
			return nil, err
		}
		defer network.Close()
		return network.Kubeconfig(answer, n.Addresses[0])
	}
	err := errors.Join(errs...)
	if errors.Is(err, api.ErrNotYet) {
		err = fmt.Errorf("%w\nKubernetes is not up yet: \"mycelium node list\" shows how far it is", err)
	}
	return nil, err
}

// useCredentialCommand replaces the operator's certificate by the command that
// shows it.
func useCredentialCommand(config *clientcmdapi.Config, network string) error {
	program, err := ownProgram()
	if err != nil {
		return err
	}
	run := &clientcmdapi.ExecConfig{
		APIVersion: clientauth.SchemeGroupVersion.String(), Command: program,
		Args:            []string{"kubeconfig", "credential", "--network", network},
		InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		InstallHint:     "Your certificate comes from the command mycelium of Digital Mycelium OS.",
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) { // where the networks are
		run.Env = []clientcmdapi.ExecEnvVar{{Name: "XDG_DATA_HOME", Value: dir}}
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Exec: run}
	}
	return nil
}

// ownProgram is how to call this program: by its name where the shell finds it so.
func ownProgram() (string, error) {
	own, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's file: %w", err)
	}
	name := filepath.Base(own)
	if found, err := exec.LookPath(name); err == nil {
		a, errA := os.Stat(found)
		b, errB := os.Stat(own)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return name, nil
		}
	}
	return own, nil
}

// placeKubeconfig prints the kubeconfig or puts it where it is wanted. User names
// are those of the network, so that two networks do not mix.
func placeKubeconfig(cmd *cobra.Command, config *clientcmdapi.Config, file string, merge bool) error {
	nameUsers(config)
	if merge {
		return mergeKubeconfig(cmd, config)
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	if file == "" {
		_, err = cmd.OutOrStdout().Write(data)
		return err
	}
	if err := durable.WriteFile(file, data, 0o600); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "Wrote %s: export KUBECONFIG=%s\n", file, file)
	return err
}

// nameUsers calls the user of each context by the operator's name and the network's.
func nameUsers(config *clientcmdapi.Config) {
	for name, c := range config.Contexts {
		user := config.AuthInfos[c.AuthInfo]
		if user == nil {
			continue
		}
		delete(config.AuthInfos, c.AuthInfo)
		c.AuthInfo = c.AuthInfo + "@" + name
		config.AuthInfos[c.AuthInfo] = user
	}
}

// mergeKubeconfig puts the kubeconfig into the user's own.
func mergeKubeconfig(cmd *cobra.Command, config *clientcmdapi.Config) error {
	path := userKubeconfig()
	all, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		all, err = clientcmdapi.NewConfig(), nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w: mend it, or use --output-file", path, err)
	}
	for name, c := range config.Clusters {
		all.Clusters[name] = c
	}
	for name, u := range config.AuthInfos {
		all.AuthInfos[name] = u
	}
	for name, c := range config.Contexts {
		all.Contexts[name] = c
	}
	all.CurrentContext = config.CurrentContext
	data, err := clientcmd.Write(*all)
	if err == nil {
		err = durable.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = durable.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s: the current context is %s now.\n", path, all.CurrentContext)
	return err
}

// userKubeconfig is the file that kubectl itself would change: the first of
// $KUBECONFIG that is there, else the last.
func userKubeconfig() string {
	list := filepath.SplitList(os.Getenv("KUBECONFIG"))
	last := ""
	for _, p := range list {
		if p == "" {
			continue
		}
		if _, err := os.Stat(p); err == nil {
			return p
		}
		last = p
	}
	if last != "" {
		return last
	}
	return clientcmd.RecommendedHomeFile
}

// credentialTime is how long a program uses a certificate before it asks for one
// again, so that it notices a renewal.
const credentialTime = time.Hour

func newCredentialCommand() *cobra.Command {
	flags := &contextFlags{}
	cmd := &cobra.Command{
		Use:   "credential",
		Short: "Show your certificate and its key to kubectl (an ExecCredential)",
		Long: `Show your certificate and its key to kubectl, as an ExecCredential of
client.authentication.k8s.io/v1. It is renewed first when it is time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := flags.open(cmd)
			if err != nil {
				return err
			}
			defer n.Close()
			cert, key, err := n.ClientPEM()
			if err != nil {
				return err
			}
			until := n.Certificate().NotAfter
			if soon := time.Now().Add(credentialTime); soon.Before(until) {
				until = soon
			}
			return jsonFormat.write(cmd.OutOrStdout(), clientauth.ExecCredential{
				TypeMeta: metav1.TypeMeta{APIVersion: clientauth.SchemeGroupVersion.String(), Kind: "ExecCredential"},
				Status: &clientauth.ExecCredentialStatus{
					ExpirationTimestamp:   &metav1.Time{Time: until},
					ClientCertificateData: string(cert),
					ClientKeyData:         string(key),
				},
			}, nil)
		},
	}
	flags.register(cmd)
	return cmd
}
