package kubenode

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	k8stesting "k8s.io/client-go/testing"
)

func TestHoldAndRelease(t *testing.T) {
	theirs := node("two", "100.64.0.2")
	theirs.Spec.Unschedulable = true
	c := cluster(t, 0, node("one", "100.64.0.1"), theirs, node("three", "100.64.0.3"))
	get := func(name string) *corev1.Node {
		n, err := c.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	conflicts := 2 // somebody else changes the nodes meanwhile
	c.PrependReactor("update", "nodes", func(k8stesting.Action) (bool, runtime.Object, error) {
		if conflicts--; conflicts >= 0 {
			return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "nodes"}, "one", errors.New("changed"))
		}
		return false, nil, nil
	})
	for _, name := range []string{"one", "one", "two", "gone"} { // twice is as once
		if err := Hold(t.Context(), c, name, "1.1.0"); err != nil {
			t.Fatal(err)
		}
	}
	held, err := Held(t.Context(), c)
	if err != nil || len(held) != 1 || held[0].Name != "one" || held[0].Annotations[HeldFor] != "1.1.0" || !held[0].Spec.Unschedulable {
		t.Errorf("held are %v, %v", held, err)
	}
	if !HasAddress(&held[0], "100.64.0.1") || HasAddress(&held[0], "one") || HasAddress(&held[0], "") {
		t.Error("its address is another one's")
	}
	for _, name := range []string{"one", "one", "two", "three", "gone"} {
		if err := Release(t.Context(), c, name); err != nil {
			t.Fatal(err)
		}
	}
	if one := get("one"); one.Spec.Unschedulable || len(one.Annotations) > 0 {
		t.Errorf("released, and yet %+v", one)
	}
	if !get("two").Spec.Unschedulable {
		t.Error("what somebody else has cordoned takes pods")
	}
}
