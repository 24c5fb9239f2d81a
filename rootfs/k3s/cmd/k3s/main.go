// Command k3s is a Kubernetes node in one program: "k3s server" is a control
// plane with its own node, "k3s agent" a node of another server's cluster.
// Called under the name "containerd" it is the container runtime that either
// of the two starts.
//
// It is K3s without the parts that a spore or the core replaces; see
// docs/decisions.
package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/k3s-io/k3s/pkg/cli/agent"
	"github.com/k3s-io/k3s/pkg/cli/cmds"
	"github.com/k3s-io/k3s/pkg/cli/server"
	"github.com/k3s-io/k3s/pkg/configfilearg"
	"github.com/k3s-io/k3s/pkg/daemons/executor"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/digital-mycelium/os/rootfs/k3s/internal/containerd"
	"github.com/digital-mycelium/os/rootfs/k3s/internal/node"
)

func main() {
	if filepath.Base(os.Args[0]) == "containerd" {
		containerd.Main()
		return
	}
	executor.Set(node.NewExecutor())
	if err := newApp().Run(configfilearg.MustParse(os.Args)); err != nil && !errors.Is(err, context.Canceled) {
		logrus.Fatalf("Error: %v", err)
	}
}

func newApp() *cli.App {
	app := cmds.NewApp()
	app.DisableSliceFlagSeparator = true
	app.Commands = []*cli.Command{
		cmds.NewServerCommand(server.Run),
		cmds.NewAgentCommand(agent.Run),
	}
	return app
}
