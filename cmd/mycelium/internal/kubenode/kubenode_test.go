package kubenode

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

func node(name, address string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid-of-" + "node"},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}, {Type: corev1.NodeInternalIP, Address: address}}},
	}
}

// pod is one of the replica set "web", of the daemon set "log", or nobody's.
func pod(name, on, kind string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: "u"}, Spec: corev1.PodSpec{NodeName: on}}
	if kind != "" {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, Controller: &yes}}
	}
	return p
}

// cluster evicts pods as Kubernetes does, after refusing each budget times.
func cluster(t *testing.T, budget int, objects ...runtime.Object) *fake.Clientset {
	t.Helper()
	c := fake.NewClientset(objects...)
	c.Resources = []*metav1.APIResourceList{
		{GroupVersion: "policy/v1"},
		{GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "pods/eviction", Kind: "Eviction", Group: "policy", Version: "v1"}}},
	}
	c.PrependReactor("create", "pods", func(a k8stesting.Action) (bool, runtime.Object, error) {
		e, ok := a.(k8stesting.CreateAction).GetObject().(*policyv1.Eviction)
		if !ok {
			return false, nil, nil
		}
		if budget > 0 {
			budget--
			return true, nil, apierrors.NewTooManyRequests("the budget allows no disruption", 0)
		}
		return true, nil, c.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), e.Namespace, e.Name)
	})
	c.PrependReactor("list", "pods", func(a k8stesting.Action) (bool, runtime.Object, error) {
		on, chosen := a.(k8stesting.ListAction).GetListRestrictions().Fields.RequiresExactMatch("spec.nodeName")
		all, err := c.Tracker().List(corev1.SchemeGroupVersion.WithResource("pods"), corev1.SchemeGroupVersion.WithKind("Pod"), "")
		if err != nil || !chosen {
			return true, all, err
		}
		list := all.DeepCopyObject().(*corev1.PodList)
		list.Items = slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.Spec.NodeName != on })
		return true, list, nil
	})
	return c
}

func TestFind(t *testing.T) {
	c := cluster(t, 0, node("one", "100.64.0.1"), node("two", "100.64.0.2"))
	for _, tc := range []struct{ address, name, want string }{
		{"100.64.0.2", "one", "two"}, {"", "one", "one"}, {"100.64.0.3", "one", ""}, {"", "three", ""},
	} {
		n, err := Find(t.Context(), c, tc.address, tc.name)
		if tc.want == "" {
			if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), tc.name) {
				t.Errorf("%v: error %v", tc, err)
			}
		} else if err != nil || n.Name != tc.want {
			t.Errorf("%v: %v, %v", tc, n, err)
		}
	}
}

func TestDrainAndDelete(t *testing.T) {
	logger := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "log", Namespace: "default"}}
	c := cluster(t, 0, node("one", "100.64.0.1"), logger, pod("log", "one", "DaemonSet"), pod("web-1", "one", "ReplicaSet"), pod("web-2", "two", "ReplicaSet"))
	n, err := Find(t.Context(), c, "100.64.0.1", "one")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	if err := Drain(t.Context(), c, n, time.Minute, func(s string) { said = append(said, s) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"no new pods on one", "1 pods move away", "pod default/web-1 is gone"}; !slices.Equal(slices.DeleteFunc(said, func(s string) bool { return strings.Contains(s, "ignoring DaemonSet") }), want) {
		t.Errorf("it said %q", said)
	}
	if n, err := Find(t.Context(), c, "", "one"); err != nil || !n.Spec.Unschedulable {
		t.Errorf("new pods may come: %v, %v", n, err)
	}
	left, err := c.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 2 || left.Items[0].Name != "log" || left.Items[1].Name != "web-2" {
		t.Errorf("left: %v, %v", left, err)
	}
	for range 2 {
		if err := Delete(t.Context(), c, n); err != nil {
			t.Error(err)
		}
	}
	if _, err := Find(t.Context(), c, "", "one"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the node is still there: %v", err)
	}
}

func TestDrainRefusesToLosePods(t *testing.T) {
	c := cluster(t, 0, node("one", "100.64.0.1"), pod("mine", "one", ""))
	n, err := Find(t.Context(), c, "100.64.0.1", "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := Drain(t.Context(), c, n, time.Minute, func(string) {}); !errors.Is(err, ErrBarePods) || !strings.Contains(err.Error(), "default/mine") {
		t.Errorf("error %v", err)
	}
	if _, err := c.CoreV1().Pods("default").Get(t.Context(), "mine", metav1.GetOptions{}); err != nil {
		t.Errorf("the pod is gone: %v", err)
	}
}

func TestDrainHeedsTimeAndBudgets(t *testing.T) {
	c := cluster(t, 1<<30, node("one", "100.64.0.1"), pod("web-1", "one", "ReplicaSet"))
	n, err := Find(t.Context(), c, "100.64.0.1", "one")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	err = Drain(t.Context(), c, n, 50*time.Millisecond, func(s string) { said = append(said, s) })
	if err == nil || !strings.Contains(err.Error(), "web-1") {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(strings.Join(said, "\n"), "budget allows no disruption") {
		t.Errorf("it did not say why it waits: %q", said)
	}
}
