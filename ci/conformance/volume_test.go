package conformance

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

func volumeCases() []testCase {
	return []testCase{
		{"emptyDir on disk and in memory", emptyDir},
		{"hostPath", hostPath},
		{"persistent volume on a host path", persistentVolume},
		{"ephemeral storage limit evicts", ephemeralLimit},
	}
}

func emptyDir(s *scope) {
	p := pod("main", "cat", "/disk/greeting", "/memory/greeting", "/proc/mounts")
	mount(p, "disk", "/disk", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	mount(p, "memory", "/memory", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium: corev1.StorageMediumMemory, SizeLimit: ptr(resources("memory", "8Mi")[corev1.ResourceMemory]),
	}})
	for _, where := range []string{"disk", "memory"} {
		writer := container("write-"+where, "write", "/"+where+"/greeting", "hello from "+where+"\n")
		writer.VolumeMounts = p.Spec.Containers[0].VolumeMounts
		p.Spec.InitContainers = append(p.Spec.InitContainers, writer)
	}
	log := s.output(p)
	s.want("what init containers left", log, "hello from disk", "hello from memory")
	for _, line := range strings.Split(log, "\n") {
		if strings.Contains(line, " /memory ") {
			s.want("mount of the volume in memory", line, "tmpfs", "size=8192k")
		}
	}
}

func hostPath(s *scope) {
	// The only writable places of the node are tmpfs and its data partition.
	source := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{
		Path: "/var/lib/test-" + s.ns, Type: ptr(corev1.HostPathDirectoryOrCreate),
	}}
	p := pod("writer", "write", "/host/note", "left on the host")
	mount(p, "host", "/host", source)
	s.output(p)
	p = pod("reader", "cat", "/host/note")
	mount(p, "host", "/host", source)
	s.want("note on the host", s.output(p), "left on the host")

	p = pod("nowhere", "sleep")
	mount(p, "host", "/host", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{
		Path: "/not/there", Type: ptr(corev1.HostPathDirectory),
	}})
	s.create(p)
	s.waitEvent("nowhere", "FailedMount", "is not a directory")
}

// persistent is a volume made by hand, a claim that takes it, and a class without a provisioner.
const persistent = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s}
spec:
  capacity: {storage: 64Mi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: %[1]s
  hostPath: {path: /var/lib/test-%[1]s, type: DirectoryOrCreate}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: %[1]s
  resources: {requests: {storage: 32Mi}}
`

func persistentVolume(s *scope) {
	s.apply(fmt.Sprintf(persistent, s.ns))
	defer s.discard("", "delete", "pv", s.ns, "--wait=false")
	s.runKubectl("", "wait", "pvc/claim", "--for=jsonpath={.status.phase}=Bound", "--timeout=180s")
	claim := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}}
	p := pod("writer", "write", "/data/note", "durable")
	mount(p, "data", "/data", claim)
	s.output(p)
	s.remove("writer")
	p = pod("reader", "cat", "/data/note")
	mount(p, "data", "/data", claim)
	s.want("note of the former pod", s.output(p), "durable")
}

func ephemeralLimit(s *scope) {
	p := pod("hoarder", "fill", "/tmp/heap", "24")
	p.Spec.Containers[0].Resources.Limits = resources("ephemeral-storage", "8Mi")
	mount(p, "tmp", "/tmp", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	s.create(p)
	evicted := s.waitPod("hoarder", "evicted", isEnded)
	if evicted.Status.Reason != "Evicted" {
		s.Errorf("ended with %s, want an eviction", summary(evicted))
	}
	s.want("reason", evicted.Status.Message, "ephemeral", "limit")
}
