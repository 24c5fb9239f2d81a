package conformance

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
)

func lifecycleCases() []testCase {
	return []testCase{
		{"namespace goes with its contents", namespaceDeletion},
		{"finalizer holds an object", finalizer},
		{"garbage collection by owner", garbageCollection},
		{"disruption budget refuses eviction", disruptionBudget},
		{"lists in pages and watches", listAndWatch},
		{"priority preempts", preemption},
		{"selectors", selectors},
	}
}

func namespaceDeletion(s *scope) {
	other := s.ns + "-doomed"
	s.runKubectl("", "create", "namespace", other)
	s.runKubectl(settings, "-n", other, "apply", "-f", "-")
	p := pod("inhabitant", "sleep")
	_, err := s.kube.CoreV1().Pods(other).Create(s.ctx, p, metav1.CreateOptions{})
	if err != nil { // the service account may not be there yet
		s.wait("a pod in the namespace", func(ctx context.Context) (bool, string, error) {
			_, err := s.kube.CoreV1().Pods(other).Create(ctx, p, metav1.CreateOptions{})
			return err == nil, "", err
		})
	}
	s.must("delete", s.kube.CoreV1().Namespaces().Delete(s.ctx, other, metav1.DeleteOptions{}))
	_, err = s.tryKubectl("", "-n", other, "create", "configmap", "late")
	s.refused("a new object in a namespace that is going", err, other)
	s.gone("namespace", func(ctx context.Context) error {
		_, err := s.kube.CoreV1().Namespaces().Get(ctx, other, metav1.GetOptions{})
		return err
	})
	_, err = s.kube.CoreV1().Pods(other).Get(s.ctx, "inhabitant", metav1.GetOptions{})
	if !isNotFound(err) {
		s.Errorf("the pod outlives its namespace: %v", err)
	}
}

func finalizer(s *scope) {
	s.apply(strings.Replace(settings, "{name: settings}", "{name: settings, finalizers: [example.org/hold]}", 1))
	s.runKubectl("", "delete", "configmap", "settings", "--wait=false")
	m, err := s.kube.CoreV1().ConfigMaps(s.ns).Get(s.ctx, "settings", metav1.GetOptions{})
	s.must("get the held object", err)
	if m.DeletionTimestamp == nil {
		s.Error("the held object is not marked as going")
	}
	s.runKubectl("", "patch", "configmap", "settings", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	s.gone("config map", func(ctx context.Context) error {
		_, err := s.kube.CoreV1().ConfigMaps(s.ns).Get(ctx, "settings", metav1.GetOptions{})
		return err
	})
}

func garbageCollection(s *scope) {
	maps := s.kube.CoreV1().ConfigMaps(s.ns)
	owned := func(name string, owner *corev1.ConfigMap) {
		s.Helper()
		_, err := maps.Create(s.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: name, OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, BlockOwnerDeletion: ptr(true),
			}},
		}}, metav1.CreateOptions{})
		s.must("create", err)
	}
	for policy, keeps := range map[metav1.DeletionPropagation]bool{
		metav1.DeletePropagationBackground: false,
		metav1.DeletePropagationForeground: false,
		metav1.DeletePropagationOrphan:     true,
	} {
		name := strings.ToLower(string(policy))
		owner, err := maps.Create(s.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		s.must("create", err)
		owned(name+"-child", owner)
		s.must("delete", maps.Delete(s.ctx, name, metav1.DeleteOptions{PropagationPolicy: &policy}))
		s.gone("the owner", func(ctx context.Context) error {
			_, err := maps.Get(ctx, name, metav1.GetOptions{})
			return err
		})
		if !keeps {
			s.gone("the child", func(ctx context.Context) error {
				_, err := maps.Get(ctx, name+"-child", metav1.GetOptions{})
				return err
			})
			continue
		}
		child, err := maps.Get(s.ctx, name+"-child", metav1.GetOptions{})
		s.must("get the orphan", err)
		if len(child.OwnerReferences) != 0 {
			s.Errorf("the orphan has owners: %v", child.OwnerReferences)
		}
	}
}

func disruptionBudget(s *scope) {
	s.ready(server("guarded"))
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "guarded"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr(intstr.FromInt32(1)),
			Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"app": "guarded"}},
		},
	}
	budgets := s.kube.PolicyV1().PodDisruptionBudgets(s.ns)
	_, err := budgets.Create(s.ctx, budget, metav1.CreateOptions{})
	s.must("create budget", err)
	s.wait("the budget's count", func(ctx context.Context) (bool, string, error) {
		b, err := budgets.Get(ctx, "guarded", metav1.GetOptions{})
		return err == nil && b.Status.CurrentHealthy == 1 && b.Status.ObservedGeneration == b.Generation, "", err
	})
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "guarded", Namespace: s.ns}}
	err = s.kube.CoreV1().Pods(s.ns).EvictV1(s.ctx, eviction)
	s.refused("the eviction of the last pod", err, "would violate the pod's disruption budget")
	s.must("delete budget", budgets.Delete(s.ctx, "guarded", metav1.DeleteOptions{}))
	s.wait("the eviction to be allowed", func(ctx context.Context) (bool, string, error) {
		err := s.kube.CoreV1().Pods(s.ns).EvictV1(ctx, eviction)
		return err == nil, "", err
	})
	s.gone("the evicted pod", func(ctx context.Context) error {
		_, err := s.kube.CoreV1().Pods(s.ns).Get(ctx, "guarded", metav1.GetOptions{})
		return err
	})
}

func listAndWatch(s *scope) {
	maps := s.kube.CoreV1().ConfigMaps(s.ns)
	for i := range 7 {
		_, err := maps.Create(s.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("item-%d", i), Labels: map[string]string{"list": "yes"},
		}}, metav1.CreateOptions{})
		s.must("create", err)
	}
	options := metav1.ListOptions{LabelSelector: "list=yes", Limit: 3}
	var names []string
	for {
		page, err := maps.List(s.ctx, options)
		s.must("list", err)
		if len(page.Items) > 3 {
			s.Errorf("a page of %d, want at most 3", len(page.Items))
		}
		for _, m := range page.Items {
			names = append(names, m.Name)
		}
		options.Continue = page.Continue
		if page.Continue == "" {
			break
		}
	}
	if len(names) != 7 {
		s.Errorf("pages hold %v, want 7 names", names)
	}
	// A watch from a list's version on shows what came after it, in order.
	list, err := maps.List(s.ctx, metav1.ListOptions{LabelSelector: "list=yes"})
	s.must("list", err)
	watcher, err := maps.Watch(s.ctx, metav1.ListOptions{LabelSelector: "list=yes", ResourceVersion: list.ResourceVersion, AllowWatchBookmarks: true})
	s.must("watch", err)
	defer watcher.Stop()
	s.runKubectl("", "patch", "configmap", "item-3", "-p", `{"data":{"a":"b"}}`)
	s.runKubectl("", "label", "configmap", "item-4", "list-")
	s.must("delete", maps.Delete(s.ctx, "item-5", metav1.DeleteOptions{}))
	for _, want := range []string{"MODIFIED item-3", "DELETED item-4", "DELETED item-5"} {
		if got := s.nextEvent(watcher); got != want {
			s.Fatalf("event %q, want %q", got, want)
		}
	}
}

// nextEvent is the next event of a watch that is no bookmark, as "TYPE name".
func (s *scope) nextEvent(watcher watch.Interface) string {
	s.Helper()
	for {
		select {
		case event, open := <-watcher.ResultChan():
			m, isMap := event.Object.(*corev1.ConfigMap)
			if !open || !isMap {
				s.Fatalf("the watch ended: %+v", event)
			}
			if event.Type != watch.Bookmark {
				return string(event.Type) + " " + m.Name
			}
		case <-s.ctx.Done():
			s.Fatal("no event came")
		}
	}
}

const priorities = `
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: %s-high}
value: 1000000
`

func preemption(s *scope) {
	// A resource that only this case uses makes the node full without filling it.
	const spot = "example.org/spot"
	nodes, err := s.kube.CoreV1().Nodes().List(s.ctx, metav1.ListOptions{})
	s.must("list nodes", err)
	s.runKubectl("", "patch", "node", nodes.Items[0].Name, "--subresource=status", "--type=json", "-p",
		`[{"op":"add","path":"/status/capacity/example.org~1spot","value":"1"}]`)
	s.apply(fmt.Sprintf(priorities, s.ns))
	defer s.discard("", "delete", "priorityclass", s.ns+"-high", "--wait=false")
	low := pod("low", "sleep")
	low.Spec.Containers[0].Resources.Limits = resources(spot, "1")
	s.create(low)
	s.waitPod("low", "running", isRunning)
	high := pod("high", "sleep")
	high.Spec.Containers[0].Resources.Limits = resources(spot, "1")
	high.Spec.PriorityClassName = s.ns + "-high"
	s.create(high)
	s.waitPod("high", "running", isRunning)
	_, err = s.kube.CoreV1().Pods(s.ns).Get(s.ctx, "low", metav1.GetOptions{})
	if !isNotFound(err) {
		s.Errorf("the low pod is still there: %v", err)
	}
}

func selectors(s *scope) {
	for _, name := range []string{"a", "b", "c"} {
		s.runKubectl("", "create", "configmap", name)
	}
	s.runKubectl("", "label", "configmap", "a", "b", "tier=front")
	for selector, want := range map[string]string{
		"tier=front":     "a b",
		"tier!=front":    "c",
		"tier in (x)":    "",
		"!tier":          "c",
		"tier notin (x)": "a b c",
	} {
		got := s.runKubectl("", "get", "configmaps", "-l", selector, "--field-selector=metadata.name!=kube-root-ca.crt", "-o", "jsonpath={.items[*].metadata.name}")
		if got != want {
			s.Errorf("selector %q: %q, want %q", selector, got, want)
		}
	}
	s.want("field selector", s.runKubectl("", "get", "configmaps", "--field-selector=metadata.name=b", "-o", "name"), "configmap/b")
}
