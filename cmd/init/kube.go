package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/kube"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

const (
	// kubePollFast and kubePollSlow are the pauses between questions to
	// Kubernetes until the node is Ready, and afterwards.
	kubePollFast = 500 * time.Millisecond
	kubePollSlow = 5 * time.Second
	// kubeSilence is how long questions may go unanswered before the API counts
	// as down.
	kubeSilence = 30 * time.Second
	// kubeRefused is the same when nobody listens there.
	kubeRefused = 5 * time.Second
)

// K3s' kubeconfigs for its own use, on servers and agents. An agent's lead to
// whichever server answers.
const (
	kubeletKubeconfig       = k3sData + "/agent/kubelet.kubeconfig"
	k3sControllerKubeconfig = k3sData + "/agent/k3scontroller.kubeconfig"
)

// statusKubeconfig is what a node of that role asks about itself with. On an
// agent that is the kubelet's: it may see its own node and the pods on it,
// which is all that is asked.
func statusKubeconfig(role identity.NodeRole) string {
	if role >= identity.Server {
		return k3sKubeconfig
	}
	return kubeletKubeconfig
}

// nodesKubeconfig is what a node of that role follows the cluster's nodes with.
// On an agent that is the one of K3s' controller, which may see all nodes:
// kubernetesAccess lets it.
func nodesKubeconfig(role identity.NodeRole) string {
	if role >= identity.Server {
		return k3sKubeconfig
	}
	return k3sControllerKubeconfig
}

// kubeWatcher follows the state of Kubernetes.
type kubeWatcher struct {
	m      *machine
	source *kube.Source
	heard  time.Time // when a question was last answered
}

// watchKubernetes asks Kubernetes how it and its node are, until ctx ends.
func (m *machine) watchKubernetes(ctx context.Context, role identity.NodeRole) {
	w := &kubeWatcher{m: m, source: kube.NewSource(statusKubeconfig(role))}
	for {
		s, _ := m.board.Get()
		began := time.Now()
		k, err := w.look(ctx, s.Kubernetes)
		if err != nil {
			k = w.unanswered(s.Kubernetes, err)
		} else {
			w.heard = time.Now()
		}
		if k != s.Kubernetes {
			m.board.Update(func(s *api.Status) { s.Kubernetes = k })
		}
		pause := kubePollSlow
		if !k.NodeReady {
			pause = max(kubePollFast, 2*time.Since(began)) // who answers slowly has enough to do
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// look returns the present state, given the one before.
func (w *kubeWatcher) look(ctx context.Context, k api.Kubernetes) (api.Kubernetes, error) {
	client, err := w.source.Client()
	if err != nil {
		return k, err
	}
	if !k.APIUp {
		if err := client.Ready(ctx); err != nil {
			return k, err
		}
		version, err := client.Version(ctx)
		if err != nil {
			return k, err
		}
		k.APIUp, k.Version = true, version
		if k.APIUpAt == 0 {
			k.APIUpAt = uptime().Seconds()
		}
	}
	ready, reason, err := client.NodeReady(ctx, w.m.hostname)
	if errors.Is(err, kube.ErrNotFound) {
		k.NodeReady, k.Reason = false, "the node has not registered yet"
		return k, nil
	}
	if err != nil {
		return k, err
	}
	k.NodeReady, k.Reason = ready, reason
	if !ready {
		return k, nil
	}
	if k.ReadyAt == 0 {
		k.ReadyAt = uptime().Seconds()
	}
	k.PodsRunning, k.PodsTotal, err = client.Pods(ctx, w.m.hostname)
	return k, err
}

// unanswered is the state after a question without an answer: a short silence
// is a busy machine, a long one is not.
func (w *kubeWatcher) unanswered(k api.Kubernetes, err error) api.Kubernetes {
	patience := kubeSilence
	if errors.Is(err, unix.ECONNREFUSED) {
		patience = kubeRefused
	}
	if !k.APIUp || time.Since(w.heard) < patience {
		return k
	}
	w.m.log.Warn("the Kubernetes API does not answer", "error", err)
	k.APIUp, k.NodeReady = false, false
	k.Reason = "the Kubernetes API does not answer"
	return k
}
