package kube

import (
	"context"
	"net/url"
	"slices"
	"strconv"
)

// Workload is what runs on a node for one owner: a ReplicaSet, a DaemonSet, or a pod
// that nobody owns.
type Workload struct {
	// Ready pods, of the Pods that are on the node.
	Ready int `json:"ready"`
	Pods  int `json:"pods"`
	// Containers are the ids of the Ready pods' containers, sorted: a container that
	// was started anew has another one.
	Containers []string `json:"containers,omitempty"`
}

const (
	workloadsPage = 50
	// workloadsMax bounds the pods that are looked at; a kubelet takes 110.
	workloadsMax = 1000
)

// pod is what counts of a pod.
type pod struct {
	Metadata struct {
		Namespace         string `json:"namespace"`
		Name              string `json:"name"`
		DeletionTimestamp string `json:"deletionTimestamp"`
		OwnerReferences   []struct {
			Kind       string `json:"kind"`
			Name       string `json:"name"`
			Controller bool   `json:"controller"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Status struct {
		Phase      string `json:"phase"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
		Containers []struct {
			ID string `json:"containerID"`
		} `json:"containerStatuses"`
	} `json:"status"`
}

// Workloads returns what runs on a node, by "namespace/Kind/name" of its owner. Jobs,
// which end, and pods that have ended or are being deleted are left out.
func (c *Client) Workloads(ctx context.Context, node string) (map[string]Workload, error) {
	found := map[string]Workload{}
	next := ""
	for n := 0; n < workloadsMax; {
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []pod `json:"items"`
		}
		query := url.Values{"limit": {strconv.Itoa(workloadsPage)}, "fieldSelector": {"spec.nodeName=" + node}}
		if next != "" {
			query.Set("continue", next)
		}
		if err := c.get(ctx, "/api/v1/pods?"+query.Encode(), "application/json", &page); err != nil {
			return nil, err
		}
		for _, p := range page.Items {
			p.addTo(found)
		}
		n += len(page.Items)
		if next = page.Metadata.Continue; next == "" || len(page.Items) == 0 {
			break
		}
	}
	for _, w := range found {
		slices.Sort(w.Containers)
	}
	return found, nil
}

func (p pod) addTo(found map[string]Workload) {
	kind, owner := "Pod", p.Metadata.Name
	for _, o := range p.Metadata.OwnerReferences {
		if o.Controller {
			kind, owner = o.Kind, o.Name
		}
	}
	if kind == "Job" || p.Metadata.DeletionTimestamp != "" || p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" {
		return
	}
	name := p.Metadata.Namespace + "/" + kind + "/" + owner
	w := found[name]
	w.Pods++
	for _, cond := range p.Status.Conditions {
		if cond.Type != "Ready" || cond.Status != "True" {
			continue
		}
		w.Ready++
		for _, c := range p.Status.Containers {
			w.Containers = append(w.Containers, c.ID)
		}
	}
	found[name] = w
}
