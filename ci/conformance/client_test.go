package conformance

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// clientCases prove that the stock kubectl works: it is built from its own
// public module and knows nothing of this system.
func clientCases() []testCase {
	return []testCase{
		{"client-side apply", clientSideApply},
		{"server-side apply", serverSideApply},
		{"kubectl reads", kubectlReads},
		{"patches", patches},
	}
}

const settings = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: green, size: "3"}
`

func (s *scope) configMap(name string) map[string]string {
	s.Helper()
	m, err := s.kube.CoreV1().ConfigMaps(s.ns).Get(s.ctx, name, metav1.GetOptions{})
	s.must("get config map", err)
	return m.Data
}

func clientSideApply(s *scope) {
	s.want("first apply", s.runKubectl(settings, "apply", "-f", "-"), "configmap/settings created")
	s.want("same again", s.runKubectl(settings, "apply", "-f", "-"), "unchanged")
	// A key that leaves the manifest leaves the object; one that another added stays.
	s.runKubectl("", "patch", "configmap", "settings", "-p", `{"data":{"foreign":"kept"}}`)
	less := strings.Replace(settings, `, size: "3"`, "", 1)
	s.want("changed", s.runKubectl(less, "apply", "-f", "-"), "configured")
	data := s.configMap("settings")
	if _, there := data["size"]; there || data["color"] != "green" || data["foreign"] != "kept" {
		s.Errorf("data after the three-way merge: %v", data)
	}
	_, err := s.tryKubectl(strings.Replace(settings, "\ndata:", "\ndtaa:", 1), "apply", "-f", "-")
	s.refused("an unknown field", err, "unknown field", "dtaa")
	s.want("dry run", s.runKubectl(settings, "apply", "--dry-run=server", "-f", "-"), "(server dry run)")
	if _, there := s.configMap("settings")["size"]; there {
		s.Error("a dry run changed the object")
	}
	s.want("deletion", s.runKubectl(settings, "delete", "-f", "-"), "deleted")
}

func serverSideApply(s *scope) {
	apply := func(manifest, manager string, more ...string) (string, error) {
		return s.tryKubectl(manifest, append([]string{"apply", "--server-side", "--field-manager", manager, "-f", "-"}, more...)...)
	}
	out, err := apply(settings, "alice")
	s.must("first apply", err)
	s.want("first apply", out, "serverside-applied")
	blue := strings.Replace(settings, "green", "blue", 1)
	_, err = apply(blue, "bob")
	s.refused("another manager's change", err, "conflict", `"alice"`, ".data.color")
	_, err = apply(blue, "bob", "--force-conflicts")
	s.must("forced apply", err)
	if color := s.configMap("settings")["color"]; color != "blue" {
		s.Errorf("color %q after a forced apply, want blue", color)
	}
	_, err = apply(settings, "alice")
	s.refused("the former owner's change", err, "conflict", `"bob"`)
	// What a manager no longer names, and nobody else owns, goes.
	_, err = apply(strings.Replace(settings, "color: green, ", "", 1), "alice")
	s.must("give up the field", err)
	_, err = apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {}\n", "bob")
	s.must("give up the other", err)
	if data := s.configMap("settings"); data["color"] != "" || data["size"] != "3" {
		s.Errorf("data %v: color should be gone, size should be 3", data)
	}
}

func kubectlReads(s *scope) {
	s.apply(settings)
	s.want("version", s.runKubectl("", "version"), "Client Version: v1.", "Server Version: v1.")
	s.want("table", s.runKubectl("", "get", "configmap", "settings"), "NAME", "DATA", "settings")
	s.want("JSON path", s.runKubectl("", "get", "configmap", "settings", "-o", "jsonpath={.data.color}"), "green")
	s.want("nodes", s.runKubectl("", "get", "nodes", "-o", "wide"), "CONTAINER-RUNTIME", "containerd://", "Ready")
	s.want("explain", s.runKubectl("", "explain", "pod.spec.containers.securityContext"), "readOnlyRootFilesystem")
	s.want("resources", s.runKubectl("", "api-resources"), "deployments", "apps/v1", "customresourcedefinitions")
	s.want("description", s.runKubectl("", "describe", "configmap", "settings"), "color:", "green")
	s.want("own rights", s.runKubectl("", "auth", "whoami"), "system:masters")
	_, err := s.tryKubectl("", "get", "configmap", "none")
	s.refused("a missing object", err, `configmaps "none" not found`)
	s.want("difference", s.differs(strings.Replace(settings, "green", "blue", 1)), "blue")
}

// differs runs kubectl diff, which ends with 1 when there is a difference.
func (s *scope) differs(manifest string) string {
	out, err := s.tryKubectl(manifest, "diff", "-f", "-")
	if err != nil && !strings.Contains(err.Error(), "exit status 1") {
		s.Fatal(err)
	}
	return out
}

func patches(s *scope) {
	s.apply(settings)
	maps := s.kube.CoreV1().ConfigMaps(s.ns)
	for _, patch := range []struct {
		kind types.PatchType
		body string
		want string
	}{
		{types.JSONPatchType, `[{"op":"replace","path":"/data/color","value":"red"}]`, "red"},
		{types.MergePatchType, `{"data":{"color":"white"}}`, "white"},
		{types.StrategicMergePatchType, `{"data":{"color":"black"}}`, "black"},
	} {
		m, err := maps.Patch(s.ctx, "settings", patch.kind, []byte(patch.body), metav1.PatchOptions{})
		s.must(string(patch.kind), err)
		if m.Data["color"] != patch.want {
			s.Errorf("%s: color %q, want %q", patch.kind, m.Data["color"], patch.want)
		}
	}
	// A write that rests on an old version is refused.
	m, err := maps.Get(s.ctx, "settings", metav1.GetOptions{})
	s.must("get", err)
	stale := m.DeepCopy()
	m.Data["color"] = "one"
	_, err = maps.Update(s.ctx, m, metav1.UpdateOptions{})
	s.must("update", err)
	_, err = maps.Update(s.ctx, stale, metav1.UpdateOptions{})
	s.refused("a stale write", err, "the object has been modified")
}

// gone waits until get says that the object is not there.
func (s *scope) gone(what string, get func(context.Context) error) {
	s.Helper()
	s.wait(what+" gone", func(ctx context.Context) (bool, string, error) {
		err := get(ctx)
		if isNotFound(err) {
			return true, "", nil
		}
		return false, "still there", err
	})
}
