package kube

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Limits of a summary: how many objects are asked for at once, and in all.
const (
	summaryPage = 50
	summaryMax  = 1000
)

// object is what a summary shows of a node or a pod.
type object struct {
	Metadata struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		NodeName string `json:"nodeName"`
	} `json:"spec"`
	Status struct {
		Phase      string `json:"phase"`
		Conditions []struct {
			Type, Status, Reason, Message string
		} `json:"conditions"`
		Containers []struct {
			Name         string `json:"name"`
			Ready        bool   `json:"ready"`
			RestartCount int    `json:"restartCount"`
			State        map[string]struct {
				Reason   string `json:"reason"`
				ExitCode int    `json:"exitCode"`
			} `json:"state"`
		} `json:"containerStatuses"`
	} `json:"status"`
}

// AllNodes describes the cluster's nodes by name and conditions, one after the other.
func (c *Client) AllNodes(ctx context.Context) (string, error) {
	return c.summary(ctx, "/api/v1/nodes")
}

// AllPods describes the cluster's pods by name, phase, conditions and the state of
// their containers.
func (c *Client) AllPods(ctx context.Context) (string, error) {
	return c.summary(ctx, "/api/v1/pods")
}

// summary lists objects page by page. What was listed before an error is returned
// beside it.
func (c *Client) summary(ctx context.Context, path string) (string, error) {
	var b strings.Builder
	next := ""
	for n := 0; ; {
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []object `json:"items"`
		}
		query := url.Values{"limit": {strconv.Itoa(summaryPage)}}
		if next != "" {
			query.Set("continue", next)
		}
		if err := c.get(ctx, path+"?"+query.Encode(), "application/json", &page); err != nil {
			return b.String(), err
		}
		for _, o := range page.Items {
			o.describe(&b)
		}
		n += len(page.Items)
		next = page.Metadata.Continue
		if next == "" || len(page.Items) == 0 {
			return b.String(), nil
		}
		if n >= summaryMax {
			return b.String() + "(and more)\n", nil
		}
	}
}

func (o object) describe(b *strings.Builder) {
	name := o.Metadata.Name
	if o.Metadata.Namespace != "" {
		name = o.Metadata.Namespace + "/" + name
	}
	fmt.Fprintln(b, strings.Join(strings.Fields(name+" "+o.Status.Phase+" "+o.Spec.NodeName), " "))
	for _, c := range o.Status.Conditions {
		fmt.Fprintf(b, "  %s=%s %s %s\n", c.Type, c.Status, c.Reason, strings.Join(strings.Fields(c.Message), " "))
	}
	for _, c := range o.Status.Containers {
		fmt.Fprintf(b, "  container %s ready=%t restarts=%d", c.Name, c.Ready, c.RestartCount)
		for _, state := range []string{"waiting", "running", "terminated"} {
			if s, ok := c.State[state]; ok {
				fmt.Fprintf(b, " %s %s exit=%d", state, s.Reason, s.ExitCode)
			}
		}
		fmt.Fprintln(b)
	}
}
