package conformance

import (
	"regexp"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func securityCases() []testCase {
	return []testCase{
		{"seccomp RuntimeDefault refuses", seccomp},
		{"capabilities", capabilities},
		{"privileged", privileged},
		{"run as user, non-root enforced", runAsUser},
		{"read-only root file system", readOnlyRoot},
		{"no new privileges", noNewPrivileges},
		{"pod security admission", podSecurity},
		{"masked and read-only kernel files", maskedPaths},
	}
}

// secured is a container with a security context.
func secured(context corev1.SecurityContext, name string, args ...string) corev1.Container {
	c := container(name, args...)
	c.SecurityContext = &context
	return c
}

// crowd is a pod of several containers: far cheaper than as many pods.
func crowd(name string, containers ...corev1.Container) *corev1.Pod {
	p := pod(name)
	p.Spec.Containers = containers
	return p
}

// outputs creates a pod, waits until all of its containers ended, and returns
// their logs by name.
func (s *scope) outputs(p *corev1.Pod) map[string]string {
	s.Helper()
	s.create(p)
	s.waitPod(p.Name, "ended", isEnded)
	found := map[string]string{}
	for _, c := range p.Spec.Containers {
		found[c.Name] = s.logs(p.Name, corev1.PodLogOptions{Container: c.Name})
	}
	return found
}

func seccomp(s *scope) {
	normal := corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	free := corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}}
	logs := s.outputs(crowd("profiles",
		secured(normal, "default-status", "cat", "/proc/self/status"),
		secured(normal, "default", "syscall", "keyctl", "userfaultfd"),
		secured(free, "free-status", "cat", "/proc/self/status"),
		secured(free, "free", "syscall", "userfaultfd")))
	s.want("status under RuntimeDefault", logs["default-status"], "Seccomp:\t2")
	s.want("system calls under RuntimeDefault", logs["default"],
		"keyctl: operation not permitted", "userfaultfd: operation not permitted")
	s.want("status when unconfined", logs["free-status"], "Seccomp:\t0")
	s.want("system calls when unconfined", logs["free"], "userfaultfd: allowed")
}

// capability bits, linux/capability.h.
const (
	capChown    = 1 << 0
	capNetAdmin = 1 << 12
	capSysAdmin = 1 << 21
)

// effective is the effective capability set in a process's status.
func (s *scope) effective(status string) uint64 {
	s.Helper()
	m := regexp.MustCompile(`CapEff:\s+([0-9a-f]+)`).FindStringSubmatch(status)
	if m == nil {
		s.Fatalf("no CapEff in:\n%s", status)
	}
	set, err := strconv.ParseUint(m[1], 16, 64)
	s.must("capabilities", err)
	return set
}

func capabilities(s *scope) {
	none := corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	one := corev1.SecurityContext{Capabilities: &corev1.Capabilities{
		Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN"},
	}}
	logs := s.outputs(crowd("sets",
		container("usual", "cat", "/proc/self/status"),
		secured(none, "none", "cat", "/proc/self/status"),
		secured(one, "one", "cat", "/proc/self/status"),
		secured(none, "tries", "syscall", "chroot", "settime", "setuid", "raw-socket")))
	if set := s.effective(logs["usual"]); set&capChown == 0 || set&(capNetAdmin|capSysAdmin) != 0 {
		s.Errorf("usual capabilities %#x: want CHOWN, not NET_ADMIN nor SYS_ADMIN", set)
	}
	if set := s.effective(logs["none"]); set != 0 {
		s.Errorf("capabilities %#x after dropping all", set)
	}
	if set := s.effective(logs["one"]); set != capNetAdmin {
		s.Errorf("capabilities %#x, want NET_ADMIN alone", set)
	}
	s.want("system calls without capabilities", logs["tries"],
		"chroot: operation not permitted", "settime: operation not permitted",
		"setuid: operation not permitted", "raw-socket: operation not permitted")
}

func privileged(s *scope) {
	p := crowd("rights",
		secured(corev1.SecurityContext{Privileged: ptr(true)}, "mighty", "syscall", "mount", "keyctl"),
		container("weak", "syscall", "mount"))
	p.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	for i := range p.Spec.Containers {
		p.Spec.Containers[i].VolumeMounts = []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}}
	}
	logs := s.outputs(p)
	s.want("privileged", logs["mighty"], "mount: allowed", "keyctl: allowed")
	s.want("not privileged", logs["weak"], "mount: operation not permitted")
}

func runAsUser(s *scope) {
	refused := crowd("root", secured(corev1.SecurityContext{RunAsNonRoot: ptr(true)}, "main", "id"))
	s.create(refused)
	p := crowd("user", secured(corev1.SecurityContext{RunAsUser: ptr(int64(1234)), RunAsGroup: ptr(int64(2345))}, "main", "id"),
		container("stat", "stat", "/shared"))
	p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr(int64(3456))}
	logs := s.outputs(shared(p))
	s.want("identity", logs["main"], "uid=1234 gid=2345", "3456")
	s.want("folder of the group", logs["stat"], ":3456")
	s.waitEvent("root", "Failed", "container has runAsNonRoot and image will run as root")
}

func readOnlyRoot(s *scope) {
	frozen := corev1.SecurityContext{ReadOnlyRootFilesystem: ptr(true)}
	p := shared(crowd("writers",
		secured(frozen, "root", "write", "/note", "x"),
		secured(frozen, "volume", "write", "/shared/note", "x"),
		container("usual", "write", "/note", "x")))
	logs := s.outputs(p)
	s.want("write to a read-only root", logs["root"], "read-only file system")
	for _, name := range []string{"volume", "usual"} {
		if logs[name] != "" {
			s.Errorf("%s could not be written: %s", name, logs[name])
		}
	}
}

func noNewPrivileges(s *scope) {
	logs := s.outputs(crowd("flat", secured(corev1.SecurityContext{AllowPrivilegeEscalation: ptr(false)}, "main", "cat", "/proc/self/status")))
	s.want("status", logs["main"], "NoNewPrivs:\t1")
}

func podSecurity(s *scope) {
	s.runKubectl("", "label", "namespace", s.ns, "pod-security.kubernetes.io/enforce=restricted")
	_, err := s.kube.CoreV1().Pods(s.ns).Create(s.ctx, pod("loose", "id"), metav1.CreateOptions{})
	s.refused("an unrestricted pod", err, `violates PodSecurity "restricted`)
	s.output(crowd("strict", secured(corev1.SecurityContext{
		RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(1000)), AllowPrivilegeEscalation: ptr(false),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}, "main", "id")))
}

func maskedPaths(s *scope) {
	logs := s.outputs(crowd("curious",
		container("sysctl", "write", "/proc/sys/kernel/hostname", "owned"),
		container("firmware", "exists", "/sys/firmware/acpi")))
	s.want("write to the kernel", logs["sysctl"], "read-only file system")
	s.want("look at the firmware", logs["firmware"], "no such file or directory")
}
