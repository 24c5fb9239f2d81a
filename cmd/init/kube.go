package main

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/kube"
	"github.com/digital-mycelium/os/pkg/api"
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

// kubeWatcher follows the state of Kubernetes.
type kubeWatcher struct {
	m       *machine
	client  *kube.Client
	written time.Time // of the kubeconfig that client was made from
	heard   time.Time // when a question was last answered
}

// watchKubernetes asks Kubernetes how it and its node are, until ctx ends.
func (m *machine) watchKubernetes(ctx context.Context) {
	w := &kubeWatcher{m: m}
	for {
		s, _ := m.board.Get()
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
			pause = kubePollFast
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// look returns the present state, given the one before.
func (w *kubeWatcher) look(ctx context.Context, k api.Kubernetes) (api.Kubernetes, error) {
	if err := w.connect(); err != nil {
		return k, err
	}
	if !k.APIUp {
		if err := w.client.Ready(ctx); err != nil {
			return k, err
		}
		version, err := w.client.Version(ctx)
		if err != nil {
			return k, err
		}
		k.APIUp, k.Version = true, version
		if k.APIUpAt == 0 {
			k.APIUpAt = uptime().Seconds()
		}
	}
	ready, reason, err := w.client.NodeReady(ctx, w.m.hostname)
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
	k.PodsRunning, k.PodsTotal, err = w.client.Pods(ctx, w.m.hostname)
	return k, err
}

// connect makes the client, anew when the kubeconfig was.
func (w *kubeWatcher) connect() error {
	info, err := os.Stat(k3sKubeconfig)
	if err != nil {
		return err
	}
	if w.client != nil && info.ModTime().Equal(w.written) {
		return nil
	}
	b, err := os.ReadFile(k3sKubeconfig)
	if err != nil {
		return err
	}
	credentials, err := kube.ParseKubeconfig(b)
	if err != nil {
		return err
	}
	if w.client != nil {
		w.client.Close()
	}
	w.client, w.written = kube.NewClient(credentials), info.ModTime()
	return nil
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
