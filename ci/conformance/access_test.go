package conformance

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/digital-mycelium/os/ci/lab"
)

func accessCases() []testCase {
	return []testCase{
		{"roles of a service account", roles},
		{"strangers are refused", strangers},
		{"node identity is limited", nodeRestriction},
	}
}

const reader = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
`

func roles(s *scope) {
	s.apply(reader)
	s.apply(settings)
	token, err := s.kube.CoreV1().ServiceAccounts(s.ns).CreateToken(s.ctx, "reader", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	s.must("token", err)
	config := rest.CopyConfig(s.config) // whom the machine API lets in by certificate is for Kubernetes whose token he shows
	config.BearerToken = token.Status.Token
	reader, err := kubernetes.NewForConfig(config)
	s.must("client", err)
	// The authorizer learns of roles by watching.
	s.wait("the role to count", func(ctx context.Context) (bool, string, error) {
		_, err := reader.CoreV1().ConfigMaps(s.ns).Get(ctx, "settings", metav1.GetOptions{})
		return err == nil, "", err
	})
	for what, try := range map[string]func() error{
		"cannot delete resource \"configmaps\"": func() error {
			return reader.CoreV1().ConfigMaps(s.ns).Delete(s.ctx, "settings", metav1.DeleteOptions{})
		},
		"cannot list resource \"secrets\"": func() error {
			_, err := reader.CoreV1().Secrets(s.ns).List(s.ctx, metav1.ListOptions{})
			return err
		},
		"in the namespace \"kube-system\"": func() error {
			_, err := reader.CoreV1().ConfigMaps("kube-system").List(s.ctx, metav1.ListOptions{})
			return err
		},
		"at the cluster scope": func() error {
			_, err := reader.CoreV1().Nodes().List(s.ctx, metav1.ListOptions{})
			return err
		},
	} {
		s.refused(what, try(), "forbidden", what)
	}
	s.want("kubectl auth", s.runKubectl("", "auth", "can-i", "list", "configmaps", "--as", "system:serviceaccount:"+s.ns+":reader"), "yes")
	// What is taken away counts at once.
	s.runKubectl("", "delete", "rolebinding", "reader")
	s.wait("the role to count no more", func(ctx context.Context) (bool, string, error) {
		_, err := reader.CoreV1().ConfigMaps(s.ns).Get(ctx, "settings", metav1.GetOptions{})
		return err != nil, fmt.Sprint(err), nil
	})
}

func strangers(s *scope) {
	anonymous, pretender := rest.AnonymousClientConfig(s.config), rest.AnonymousClientConfig(s.config)
	pretender.BearerToken = "not-a-token"
	member := rest.CopyConfig(s.config)
	member.BearerToken = "not-a-token" // does not fall back to the certificate's rights
	for name, tt := range map[string]struct {
		config *rest.Config
		want   string
	}{
		"nobody":                         {anonymous, "certificate required"},
		"a false token":                  {pretender, "certificate required"},
		"an operator with a false token": {member, "Unauthorized"},
	} {
		stranger, err := kubernetes.NewForConfig(tt.config)
		s.must("client", err)
		_, err = stranger.CoreV1().Pods(s.ns).List(s.ctx, metav1.ListOptions{})
		s.refused(name, err, tt.want)
	}
	// Plain HTTP gets no answer of the API.
	body, err := lab.HTTPGet(s.ctx, "http://"+s.config.Host[len("https://"):]+"/api")
	if err == nil && body != "Client sent an HTTP request to an HTTPS server.\n" {
		s.Errorf("plain HTTP: %q", body)
	}
	// kubelet's own port wants a certificate, too.
	_, err = s.fromClient("get", fmt.Sprintf("http://%s:10255/pods", s.nodeIP()))
	s.refused("kubelet's read-only port", err, "refused")
}

func nodeRestriction(s *scope) {
	nodes, err := s.kube.CoreV1().Nodes().List(s.ctx, metav1.ListOptions{})
	s.must("list nodes", err)
	as := []string{"--as", "system:node:" + nodes.Items[0].Name, "--as-group", "system:nodes", "--as-group", "system:authenticated"}
	s.runKubectl("", "create", "secret", "generic", "private", "--from-literal=a=b")
	_, err = s.tryKubectl("", append([]string{"get", "secret", "private"}, as...)...)
	s.refused("a secret that no pod of the node uses", err, "forbidden")
	_, err = s.tryKubectl("", append([]string{"label", "node", nodes.Items[0].Name, "node-restriction.kubernetes.io/a=b"}, as...)...)
	s.refused("a protected label", err, "forbidden")
}
