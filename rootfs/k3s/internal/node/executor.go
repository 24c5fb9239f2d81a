// Package node starts the parts of a Kubernetes node inside this process, on
// behalf of K3s, and containerd beside it.
//
// It is what K3s calls an executor. K3s' own one brings Flannel, the network
// policy controller, cri-dockerd and a cloud controller along; this one starts
// nothing but Kubernetes itself.
package node

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/k3s-io/k3s/pkg/agent/containerd"
	"github.com/k3s-io/k3s/pkg/agent/cri"
	"github.com/k3s-io/k3s/pkg/cli/cmds"
	daemonconfig "github.com/k3s-io/k3s/pkg/daemons/config"
	"github.com/k3s-io/k3s/pkg/daemons/executor"
	"github.com/k3s-io/k3s/pkg/util"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// etcdRetry is how long to wait between two questions to the datastore
// whether it is up.
const etcdRetry = 200 * time.Millisecond

// noCRI is the runtime endpoint of a server that runs no pods.
const noCRI = "/dev/null"

// Where the root file system has the network's plugins and configuration.
const (
	cniBinDir  = "/libexec/cni"
	cniConfDir = "/etc/cni/net.d"
)

// Executor implements K3s' executor.Executor. The zero value is not usable;
// call NewExecutor. K3s calls Bootstrap once, and the rest in any order, also
// before Bootstrap, and from several goroutines.
type Executor struct {
	etcdReady      chan struct{}
	criReady       chan struct{}
	apiServerReady chan struct{}
	once           sync.Once
}

var _ executor.Executor = (*Executor)(nil)

// NewExecutor returns an executor that has started nothing yet.
func NewExecutor() *Executor {
	return &Executor{
		etcdReady:      make(chan struct{}),
		criReady:       make(chan struct{}),
		apiServerReady: make(chan struct{}),
	}
}

// Bootstrap begins to wait for the API server that the node belongs to.
func (e *Executor) Bootstrap(ctx context.Context, node *daemonconfig.Node, cfg cmds.Agent) error {
	if err := checkSupported(node, cfg); err != nil {
		return err
	}
	node.AgentConfig.CNIBinDir, node.AgentConfig.CNIConfDir = cniBinDir, cniConfDir
	e.once.Do(func() {
		ready := util.APIServerReadyChan(ctx, node.AgentConfig.KubeConfigK3sController, util.DefaultAPIServerReadyTimeout)
		go e.waitForAPIServer(ctx, ready)
		go keepLogLevel(ctx, cmds.LogConfig.VLevel)
		go tuneMemory(ctx, e.apiServerReady)
	})
	return nil
}

// APIServer starts the API server as soon as the datastore answers.
func (e *Executor) APIServer(ctx context.Context, args []string) error {
	e.start(ctx, "kube-apiserver", apiserver.NewAPIServerCommand(ctx.Done()), args, e.etcdReady)
	return nil
}

// APIServerHandlers returns the API server's authenticator and handler, for
// K3s' supervisor port, when they exist.
func (e *Executor) APIServerHandlers(ctx context.Context) (authenticator.Request, http.Handler, error) {
	select {
	case config := <-apiserver.StartupConfig:
		return config.Authenticator, config.Handler, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// Scheduler starts the scheduler when there is a node to schedule to.
func (e *Executor) Scheduler(ctx context.Context, nodeReady <-chan struct{}, args []string) error {
	e.start(ctx, "kube-scheduler", scheduler.NewSchedulerCommand(ctx.Done()), args, e.APIServerReadyChan(), nodeReady)
	return nil
}

// ControllerManager starts the controller manager.
func (e *Executor) ControllerManager(ctx context.Context, args []string) error {
	e.start(ctx, "kube-controller-manager", controllermanager.NewControllerManagerCommand(), args, e.APIServerReadyChan())
	return nil
}

// Kubelet starts the kubelet.
func (e *Executor) Kubelet(ctx context.Context, args []string) error {
	e.start(ctx, "kubelet", kubelet.NewKubeletCommand(context.Background()), args, e.APIServerReadyChan())
	return nil
}

// KubeProxy starts kube-proxy.
func (e *Executor) KubeProxy(ctx context.Context, args []string) error {
	e.start(ctx, "kube-proxy", proxy.NewProxyCommand(), withNFTables(args), e.APIServerReadyChan())
	return nil
}

// Containerd starts containerd as a child and returns when it answers and has
// imported the images in the agent's image directory.
func (e *Executor) Containerd(ctx context.Context, node *daemonconfig.Node) error {
	return executor.CloseIfNilErr(containerd.Run(ctx, node), e.criReady)
}

// CRI waits for a container runtime that something else has started.
func (e *Executor) CRI(ctx context.Context, node *daemonconfig.Node) error {
	if node.ContainerRuntimeEndpoint == noCRI {
		return executor.CloseIfNilErr(nil, e.criReady)
	}
	return executor.CloseIfNilErr(cri.WaitForService(ctx, node.ContainerRuntimeEndpoint, "CRI"), e.criReady)
}

// CNI does nothing: the network's configuration stands in the root file system.
func (e *Executor) CNI(context.Context, *sync.WaitGroup, *daemonconfig.Node) error { return nil }

// Docker fails.
func (e *Executor) Docker(context.Context, *daemonconfig.Node) error {
	return errors.New("this build has no cri-dockerd: leave out --docker")
}

// CloudControllerManager fails.
func (e *Executor) CloudControllerManager(context.Context, <-chan struct{}, []string) error {
	return errors.New("this build has no cloud controller: pass --disable-cloud-controller")
}

// CurrentETCDOptions returns nothing to start etcd with.
func (e *Executor) CurrentETCDOptions() (executor.InitialOptions, error) {
	return executor.InitialOptions{}, nil
}

// ETCD waits for the datastore and starts etcd in builds that have it.
func (e *Executor) ETCD(ctx context.Context, wg *sync.WaitGroup, cfg *executor.ETCDConfig, args []string, test executor.TestFunc) error {
	go e.waitForDatastore(ctx, test)
	return startETCD(ctx, wg, cfg, args)
}

// APIServerReadyChan is closed when the API server is ready.
func (e *Executor) APIServerReadyChan() <-chan struct{} { return e.apiServerReady }

// ETCDReadyChan is closed when the datastore is ready.
func (e *Executor) ETCDReadyChan() <-chan struct{} { return e.etcdReady }

// CRIReadyChan is closed when the container runtime is ready.
func (e *Executor) CRIReadyChan() <-chan struct{} { return e.criReady }

// IsSelfHosted is false: the control plane does not run in pods.
func (e *Executor) IsSelfHosted() bool { return false }

// waitForAPIServer closes the channel that exists before Bootstrap when the one
// that Bootstrap made is closed.
func (e *Executor) waitForAPIServer(ctx context.Context, ready <-chan struct{}) {
	select {
	case <-ready:
		close(e.apiServerReady)
	case <-ctx.Done():
	}
}

func (e *Executor) waitForDatastore(ctx context.Context, test executor.TestFunc) {
	for {
		err := test(ctx, true)
		if err == nil {
			close(e.etcdReady)
			return
		}
		logrus.Infof("Waiting for the datastore: %v", err)
		select {
		case <-time.After(etcdRetry):
		case <-ctx.Done():
			return
		}
	}
}

// start runs a component in the background once every channel of after is closed.
func (e *Executor) start(ctx context.Context, name string, command *cobra.Command, args []string, after ...<-chan struct{}) {
	command.SetArgs(args)
	go func() {
		for _, c := range after {
			select {
			case <-c:
			case <-ctx.Done():
				return
			}
		}
		run(ctx, name, command)
	}()
}
