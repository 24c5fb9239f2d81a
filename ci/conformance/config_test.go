package conformance

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func configCases() []testCase {
	return []testCase{
		{"config map and secret", configAndSecret},
		{"config map update reaches the pod", configUpdate},
		{"missing config map holds the pod", configMissing},
		{"downward API and projected volume", downward},
		{"service account token", serviceAccountToken},
	}
}

func configAndSecret(s *scope) {
	s.apply(settings)
	s.runKubectl("", "create", "secret", "generic", "key", "--from-literal=password=wood-wide-web")
	p := pod("reader", "cat", "/config/color", "/secret/password", "/one/size")
	mount(p, "config", "/config", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
	}})
	mount(p, "secret", "/secret", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: "key", DefaultMode: ptr(int32(0o400)),
	}})
	main := &p.Spec.Containers[0]
	main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: "config", MountPath: "/one/size", SubPath: "size"})
	s.want("mounted files", s.output(p), "green", "wood-wide-web", "3")

	p = pod("environment", "env", "COLOR", "PASSWORD", "all_size")
	p.Spec.Containers[0].Env = []corev1.EnvVar{
		{Name: "COLOR", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: "color",
		}}},
		{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "key"}, Key: "password",
		}}},
	}
	p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{
		Prefix:       "all_",
		ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}},
	}}
	s.want("environment", s.output(p), "COLOR=green", "PASSWORD=wood-wide-web", "all_size=3")
}

func configUpdate(s *scope) {
	s.apply(settings)
	p := pod("reader", "sleep")
	mount(p, "config", "/config", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
	}})
	s.create(p)
	s.waitPod("reader", "running", isRunning)
	s.want("first content", s.mustExec("reader", "cat", "/config/color"), "green")
	s.apply(strings.Replace(settings, "green", "blue", 1))
	// kubelet looks at its volumes about once a minute.
	s.wait("the new content in the pod", func(context.Context) (bool, string, error) {
		out, err := s.exec("reader", "", "cat", "/config/color")
		return out == "blue", out, err
	})
	// An immutable one refuses changes.
	s.runKubectl("", "patch", "configmap", "settings", "-p", `{"immutable":true}`)
	_, err := s.tryKubectl(settings, "apply", "-f", "-")
	s.refused("a change of an immutable config map", err, "immutable")
}

func configMissing(s *scope) {
	p := pod("reader", "cat", "/config/color")
	mount(p, "config", "/config", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
	}})
	s.create(p)
	s.waitEvent("reader", "FailedMount", `configmap "settings" not found`)
	s.apply(settings)
	s.waitPod("reader", "ended", isEnded)
	s.want("log", s.logs("reader", corev1.PodLogOptions{}), "green")
}

// waitEvent waits for an event about a pod.
func (s *scope) waitEvent(pod, reason, text string) {
	s.Helper()
	s.wait("event "+reason+" of "+pod, func(ctx context.Context) (bool, string, error) {
		events, err := s.kube.CoreV1().Events(s.ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod})
		if err != nil {
			return false, "", err
		}
		var seen []string
		for _, e := range events.Items {
			seen = append(seen, e.Reason+": "+e.Message)
			if e.Reason == reason && strings.Contains(e.Message, text) {
				return true, "", nil
			}
		}
		return false, strings.Join(seen, "\n"), nil
	})
}

func downward(s *scope) {
	s.apply(settings)
	p := pod("mirror", "cat", "/all/labels", "/all/name", "/all/limit", "/all/color", "/proc/self/environ")
	p.Labels["garden"] = "north"
	main := &p.Spec.Containers[0]
	main.Resources.Limits = resources("memory", "64Mi", "cpu", "500m")
	field := func(path string) *corev1.ObjectFieldSelector { return &corev1.ObjectFieldSelector{FieldPath: path} }
	mount(p, "all", "/all", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "labels", FieldRef: field("metadata.labels")},
			{Path: "name", FieldRef: field("metadata.name")},
			{Path: "limit", ResourceFieldRef: &corev1.ResourceFieldSelector{
				ContainerName: "main", Resource: "limits.memory",
			}},
		}}},
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
	}}})
	main = &p.Spec.Containers[0]
	main.Env = []corev1.EnvVar{
		{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: field("spec.nodeName")}},
		{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: field("status.podIP")}},
		{Name: "WHERE", Value: "$(NODE)-host"},
	}
	log := s.output(p)
	ended, err := s.kube.CoreV1().Pods(s.ns).Get(s.ctx, "mirror", metav1.GetOptions{})
	s.must("get pod", err)
	s.want("pod's view of itself", log, `garden="north"`, "mirror", "67108864", "green",
		"NODE="+ended.Spec.NodeName, "WHERE="+ended.Spec.NodeName+"-host", "POD_IP=")
}

func serviceAccountToken(s *scope) {
	const at = "/var/run/secrets/kubernetes.io/serviceaccount/"
	log := s.output(pod("member", "cat", at+"namespace", at+"ca.crt", at+"token"))
	s.want("service account files", log, s.ns, "BEGIN CERTIFICATE", "eyJ")
	p := pod("stranger", "exists", at+"token")
	p.Spec.AutomountServiceAccountToken = ptr(false)
	if ended, log := s.finish(p); ended.Status.Phase != corev1.PodFailed {
		s.Errorf("a pod that wants no token has one: %s", log)
	}
}
