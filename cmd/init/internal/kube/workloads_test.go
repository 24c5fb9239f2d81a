package kube

import (
	"context"
	"reflect"
	"testing"
)

func TestWorkloads(t *testing.T) {
	c := testServer(t, map[string]string{"/api/v1/pods": `{"items":[
		{"metadata":{"namespace":"default","name":"hello-1","ownerReferences":[{"kind":"Other","name":"x"},{"kind":"ReplicaSet","name":"hello","controller":true}]},
		 "status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"containerID":"containerd://b"},{"containerID":"containerd://a"}]}},
		{"metadata":{"namespace":"default","name":"hello-2","ownerReferences":[{"kind":"ReplicaSet","name":"hello","controller":true}]},
		 "status":{"phase":"Running","conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"containerID":"containerd://c"}]}},
		{"metadata":{"namespace":"default","name":"hello-3","deletionTimestamp":"2026-01-01T00:00:00Z","ownerReferences":[{"kind":"ReplicaSet","name":"hello","controller":true}]}},
		{"metadata":{"namespace":"x","name":"alone"},"status":{"phase":"Pending"}},
		{"metadata":{"namespace":"x","name":"done"},"status":{"phase":"Succeeded"}},
		{"metadata":{"namespace":"x","name":"job-1","ownerReferences":[{"kind":"Job","name":"job","controller":true}]},"status":{"phase":"Running"}}]}`})
	got, err := c.Workloads(context.Background(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Workload{
		"default/ReplicaSet/hello": {Ready: 1, Pods: 2, Containers: []string{"containerd://a", "containerd://b"}},
		"x/Pod/alone":              {Pods: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := testServer(t, nil).Workloads(context.Background(), "n1"); err == nil {
		t.Error("no error without an answer")
	}
}
