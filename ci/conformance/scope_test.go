package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/digital-mycelium/os/ci/lab"
)

// caseTimeout bounds one case. Emulated machines are about ten times slower
// than real ones, and several cases run at once.
const caseTimeout = 8 * time.Minute

// cluster is the node under test.
type cluster struct {
	suite      *lab.Suite
	machine    *lab.Machine
	config     *rest.Config
	kube       kubernetes.Interface
	kubeconfig string
	kubectl    string
	// client is a running pod in the namespace default.
	client string
}

// scope is what one case works with: a namespace of its own, which goes when it ends.
type scope struct {
	*testing.T
	*cluster
	ctx context.Context
	ns  string
}

// begin makes the scope of one case.
func (c *cluster) begin(t *testing.T, name string) *scope {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), caseTimeout, fmt.Errorf("the case took longer than %v", caseTimeout))
	t.Cleanup(cancel)
	s := &scope{T: t, cluster: c, ctx: ctx, ns: namespaceOf(name)}
	_, err := c.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: s.ns},
	}, metav1.CreateOptions{})
	s.must("create namespace", err)
	t.Cleanup(s.end)
	s.wait("the default service account", func(ctx context.Context) (bool, string, error) {
		_, err := c.kube.CoreV1().ServiceAccounts(s.ns).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, "", err
	})
	return s
}

// end records a failed case and removes its namespace.
func (s *scope) end() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 2*time.Minute)
	defer cancel()
	if s.Failed() {
		s.record(ctx)
	}
	now := int64(0)
	_ = s.kube.CoreV1().Pods(s.ns).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
	err := s.kube.CoreV1().Namespaces().Delete(ctx, s.ns, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		s.Logf("delete namespace %s: %v", s.ns, err)
	}
}

// record keeps what the API knows of a failed case's namespace.
func (s *scope) record(ctx context.Context) {
	dir := s.suite.RecordDir(s.Name())
	for name, args := range map[string][]string{
		"objects.yaml": {"get", "all,events,endpointslices,pvc,configmaps", "-o", "yaml"},
		"describe.txt": {"describe", "pods"},
	} {
		cmd := exec.CommandContext(ctx, s.kubectl, append([]string{"--kubeconfig", s.kubeconfig, "-n", s.ns}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			out = fmt.Appendf(out, "\n%v\n", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), out, 0o644); err != nil {
			s.Log(err)
		}
	}
	s.Logf("record: %s", dir)
}

// namespaceOf makes a namespace's name of a case's.
func namespaceOf(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	// A kept node may still hold the namespace of an earlier run.
	return strings.Trim(clean[:min(len(clean), 45)], "-") + "-" + utilrand.String(4)
}

// Fatal and the others keep the reason for the table at the end of the run.
func (s *scope) Fatal(args ...any) { s.Helper(); s.Fatalf("%s", fmt.Sprint(args...)) }

func (s *scope) Fatalf(format string, args ...any) {
	s.Helper()
	s.Errorf(format, args...)
	s.FailNow()
}

func (s *scope) Error(args ...any) { s.Helper(); s.Errorf("%s", fmt.Sprint(args...)) }

func (s *scope) Errorf(format string, args ...any) {
	s.Helper()
	s.suite.Times.Failure(s.T, fmt.Sprintf(format, args...))
	s.T.Errorf(format, args...)
}

// must ends the case when err is not nil.
func (s *scope) must(step string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", step, err)
	}
}

// wait polls until check is done, and ends the case when it never is.
func (s *scope) wait(what string, check func(ctx context.Context) (bool, string, error)) {
	s.Helper()
	if err := lab.Poll(s.ctx, what, check); err != nil {
		s.Fatal(err)
	}
}

// want ends the case unless text holds every part.
func (s *scope) want(what, text string, parts ...string) {
	s.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			s.Fatalf("%s lacks %q:\n%s", what, part, text)
		}
	}
}

// refused ends the case unless err is there and says every part.
func (s *scope) refused(what string, err error, parts ...string) {
	s.Helper()
	if err == nil {
		s.Fatalf("%s was not refused", what)
	}
	s.want("refusal of "+what, err.Error(), parts...)
}

// tryKubectl runs the stock kubectl in the case's namespace. The client gives
// an answer 32 s when it asks what the API offers; an emulated node with several
// cases at once may need longer for its documents, and has them ready for the
// next question.
func (s *scope) tryKubectl(stdin string, args ...string) (string, error) {
	const attempts = 3
	for n := 1; ; n++ {
		out, err := s.kubectlOnce(stdin, args...)
		if err == nil || n == attempts || !strings.Contains(err.Error(), "Client.Timeout exceeded") {
			return out, err
		}
		s.Logf("again, after: %v", err)
	}
}

func (s *scope) kubectlOnce(stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(s.ctx, s.kubectl, append([]string{"--kubeconfig", s.kubeconfig, "-n", s.ns}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HOME="+s.suite.Out, "KUBE_EDITOR=true")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// runKubectl is tryKubectl for commands that must succeed.
func (s *scope) runKubectl(stdin string, args ...string) string {
	s.Helper()
	out, err := s.tryKubectl(stdin, args...)
	s.must("stock client", err)
	return out
}

// discard removes what is outside of the case's namespace; whether that
// succeeds is not the case's subject.
func (s *scope) discard(stdin string, args ...string) {
	s.Helper()
	if _, err := s.tryKubectl(stdin, args...); err != nil {
		s.Log(err)
	}
}

// apply applies a manifest with the stock kubectl.
func (s *scope) apply(manifest string) {
	s.Helper()
	s.runKubectl(manifest, "apply", "-f", "-")
}

// exec runs a command in a container, and returns what it printed.
func (s *scope) exec(pod, container string, command ...string) (string, error) {
	return s.execIn(s.ns, pod, container, command...)
}

// execIn is exec for a pod of any namespace.
func (s *scope) execIn(namespace, pod, container string, command ...string) (string, error) {
	request := s.kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: container, Command: append([]string{probePath}, command...), Stdout: true, Stderr: true,
		}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(s.config, "GET", request.URL().String())
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(s.ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		err = fmt.Errorf("exec %v in %s: %w: %s", command, pod, err, stderr.String())
	}
	return stdout.String(), err
}

// mustExec is exec for commands that must succeed.
func (s *scope) mustExec(pod string, command ...string) string {
	s.Helper()
	out, err := s.exec(pod, "", command...)
	s.must("command in a container", err)
	return out
}

// logs reads a container's log. An empty container means the only one.
func (s *scope) logs(pod string, options corev1.PodLogOptions) string {
	s.Helper()
	stream, err := s.kube.CoreV1().Pods(s.ns).GetLogs(pod, &options).Stream(s.ctx)
	s.must("logs of "+pod, err)
	text, err := io.ReadAll(stream)
	s.must("logs of "+pod, errors.Join(err, stream.Close()))
	return string(text)
}
