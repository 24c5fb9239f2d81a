package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/k3s-io/k3s/pkg/cli/cmds"
	daemonconfig "github.com/k3s-io/k3s/pkg/daemons/config"
	"github.com/k3s-io/k3s/pkg/signals"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

// run executes a Kubernetes component until it ends. Its end ends the
// process: init starts K3s anew, which is simpler to reason about than a node
// that lacks a part.
func run(ctx context.Context, name string, command *cobra.Command) {
	defer func() {
		if r := recover(); r != nil {
			logrus.WithField("stack", string(debug.Stack())).Fatalf("%s panic: %v", name, r)
		}
	}()
	err := command.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		signals.RequestShutdown(fmt.Errorf("%s exited: %w", name, err))
		return
	}
	signals.RequestShutdown(nil)
}

// checkSupported refuses what the configuration asks for and this build lacks.
func checkSupported(node *daemonconfig.Node, cfg cmds.Agent) error {
	switch {
	case node.Flannel.Backend != "" && node.Flannel.Backend != "none":
		return fmt.Errorf("this build has no flannel (asked for backend %q): pass --flannel-backend=none", node.Flannel.Backend)
	case cfg.VPNAuth != "":
		return errors.New("this build has no VPN integration: leave out --vpn-auth")
	}
	return nil
}

// proxyModeFlag begins kube-proxy's choice of a backend.
const proxyModeFlag = "--proxy-mode="

// withNFTables puts the nftables mode in place of the iptables mode, which K3s
// passes unless it is told otherwise: a node has no iptables program.
func withNFTables(args []string) []string {
	kept := make([]string, 0, len(args)+1)
	chosen := false
	for _, a := range args {
		if a == proxyModeFlag+"iptables" {
			continue
		}
		chosen = chosen || strings.HasPrefix(a, proxyModeFlag)
		kept = append(kept, a)
	}
	if !chosen {
		kept = append(kept, proxyModeFlag+"nftables")
	}
	return kept
}

// klogSettle is for how long the components of Kubernetes, as they start, may
// set klog's verbosity to their own default.
const klogSettle = 2 * time.Minute

// keepLogLevel sets klog's verbosity again and again while components start.
func keepLogLevel(ctx context.Context, level int) {
	ctx, cancel := context.WithTimeout(ctx, klogSettle)
	defer cancel()
	klog.InitFlags(nil)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := flag.Set("v", strconv.Itoa(level)); err != nil {
			logrus.Warnf("Set the log verbosity to %d: %v", level, err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
