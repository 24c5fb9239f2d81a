package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rbacObject is a ClusterRole or a ClusterRoleBinding.
type rbacObject struct {
	Kind     string
	Metadata struct{ Name string }
	Rules    []struct {
		APIGroups       []string `yaml:"apiGroups"`
		Resources       []string
		NonResourceURLs []string `yaml:"nonResourceURLs"`
		Verbs           []string
	}
	RoleRef  struct{ Kind, Name string } `yaml:"roleRef"`
	Subjects []struct{ Kind, Name string }
}

func accessObjects(t *testing.T) []rbacObject {
	t.Helper()
	var objects []rbacObject
	d := yaml.NewDecoder(bytes.NewReader(accessManifest))
	for {
		var o rbacObject
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
}

func TestAccessManifest(t *testing.T) {
	// Kubernetes' own roles that are bound.
	known := map[string]bool{"view": true, "edit": true}
	granted := map[string][]string{} // roles of a subject
	objects := accessObjects(t)
	for _, o := range objects {
		if o.Kind == "ClusterRole" {
			known[o.Metadata.Name] = true
		}
	}
	for _, o := range objects {
		for _, r := range o.Rules {
			all := slices.Concat(r.APIGroups, r.Resources, r.NonResourceURLs, r.Verbs)
			if slices.Contains(all, "*") || slices.Contains(all, "secrets") || slices.Contains(all, "nodes/proxy") {
				t.Errorf("%s allows too much: %+v", o.Metadata.Name, r)
			}
			if o.Metadata.Name == "mycelium:operators" {
				continue
			}
			for _, v := range r.Verbs {
				if !slices.Contains([]string{"get", "list", "watch"}, v) {
					t.Errorf("%s allows %s on %v", o.Metadata.Name, v, r.Resources)
				}
			}
		}
		if o.Kind == "ClusterRoleBinding" && !known[o.RoleRef.Name] {
			t.Errorf("%s binds the role %s, which nobody makes", o.Metadata.Name, o.RoleRef.Name)
		}
		for _, s := range o.Subjects {
			granted[s.Name] = append(granted[s.Name], o.RoleRef.Name)
		}
	}
	for subject, want := range map[string][]string{
		"mycelium:readers":      {"mycelium:readers", "view"},
		"mycelium:operators":    {"edit", "mycelium:operators", "mycelium:readers"},
		"system:k3s-controller": {"system:k3s-controller"},
	} {
		got := granted[subject]
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s has the roles %q, want %q", subject, got, want)
		}
		delete(granted, subject)
	}
	if len(granted) > 0 {
		t.Errorf("others have rights, too: %v", granted)
	}
}

func TestKubeconfigFor(t *testing.T) {
	ca := []byte("-----BEGIN CERTIFICATE-----\n")
	doc := kubeconfigFor("[fd00::1]:6440", ca)
	var k struct {
		Kind     string
		Clusters []struct {
			Name    string
			Cluster map[string]string
		}
		CurrentContext string `yaml:"current-context"`
		Contexts       []struct {
			Name    string
			Context map[string]string
		}
	}
	if err := yaml.Unmarshal(doc, &k); err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	c := k.Clusters[0].Cluster
	if c["server"] != "https://[fd00::1]:6440/kubernetes" || c["tls-server-name"] != "kubernetes.mycelium.internal" ||
		c["certificate-authority-data"] != base64.StdEncoding.EncodeToString(ca) {
		t.Errorf("cluster %v", c)
	}
	if k.Contexts[0].Name != k.CurrentContext || k.Contexts[0].Context["cluster"] != k.Clusters[0].Name {
		t.Errorf("the context leads nowhere:\n%s", doc)
	}
	if strings.Contains(string(doc), "client-") {
		t.Errorf("credentials in\n%s", doc)
	}
}
