package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// updateFaults: further ways in which an update goes wrong, one after the other on one
// machine. After each it runs what it ran before, is Ready, and says why.
func updateFaults(t *testing.T, suite *lab.Suite) {
	newer, err := suite.Newer(t.Context(), "1.1.0")
	must(t, "build a newer version", err)
	u := startUpdating(t, suite, "update-faults")
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"two at once", func(t *testing.T) { u.twoAtOnce(t, newer) }},
		{"init ends", func(t *testing.T) { u.badInit(t, "1.0.11", "exit") }},
		{"init hangs", func(t *testing.T) { u.badInit(t, "1.0.12", "hang") }},
		{"workload never Ready", u.workloadNeverReady},
		{"no network", func(t *testing.T) { u.noNetwork(t, newer) }},
		{"put off by a reboot", func(t *testing.T) { u.putOff(t, newer) }},
		{"disk full", func(t *testing.T) { u.diskFull(t, newer) }},
		{"kernel hangs", u.kernelHangs},
		{"EFI variables full", u.variablesFull},
		{"unreadable slot", u.unreadableSlot},
		{"EFI variables lost", func(t *testing.T) { u.variablesLost(t, newer) }},
		{"wrong clock", u.clockWrong},
		{"automatic", u.automatic},
	} {
		ok := t.Run(test.name, func(t *testing.T) {
			defer suite.Times.Start(t)()
			defer recordOf(t, u.Machine)
			test.run(t)
		})
		if !ok {
			return
		}
	}
	must(t, "shutdown", u.PowerOff(t.Context()))
	checkClean(t, u.Machine)
}

// twoAtOnce: of two updates that begin at the same time one is staged, whole.
func (u *updating) twoAtOnce(t *testing.T, f lab.OSFile) {
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = u.push(within(t, 5*time.Minute), f) })
	}
	wg.Wait()
	refused := 0
	for _, err := range errs {
		if errors.Is(err, api.ErrConflict) {
			refused++
		} else if err != nil {
			t.Errorf("one of two: %v", err)
		}
	}
	if refused != 1 {
		t.Errorf("%d of two updates at once were refused: %v", refused, errs)
	}
	status, err := u.Status(t.Context())
	must(t, "status", err)
	for _, slot := range status.Update.Slots {
		if !slot.Running && (slot.Phase != "staged" || slot.Version != f.Version) {
			t.Errorf("the idle slot is %+v", slot)
		}
	}
}

// badInit: the new version's init ends, or hangs until the watchdog resets the machine.
func (u *updating) badInit(t *testing.T, version, mode string) {
	f := u.variant(t, version, func(p *uki.Parts) error { return u.suite.BadInit(p, mode) })
	u.pushAndTry(t, f)
	status := u.awaitVerdict(t, f.Version, "bad")
	u.wantRunning(t, status, u.base)
	wantReason(t, status, "init never ran")
}

// kernelHangs: the new version's kernel stands still at its first instruction. The
// firmware's own watchdog, five minutes, starts the machine again.
func (u *updating) kernelHangs(t *testing.T) {
	f := u.variant(t, "1.0.14", func(p *uki.Parts) error {
		p.Linux = lab.HangingKernel()
		return nil
	})
	u.pushAndTry(t, f)
	status := u.awaitVerdict(t, f.Version, "bad")
	u.wantRunning(t, status, u.base)
	wantReason(t, status, "init never ran")
	if strings.Contains(u.Console(t), "failed to start Boot") {
		t.Error("the firmware refused the kernel that is to hang")
	}
}

// workloadNeverReady: everything comes up but one workload, which misses something that
// the new kernel does not give any more.
func (u *updating) workloadNeverReady(t *testing.T) {
	const name = "pressure"
	cluster, err := u.Cluster(t.Context())
	must(t, "cluster", err)
	labels := map[string]string{"app": name}
	_, err = cluster.Kube.AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "main", Image: lab.ProbeImage, ImagePullPolicy: corev1.PullNever,
					Command: []string{"/probe", "sleep", "1000h"},
					ReadinessProbe: &corev1.Probe{
						ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/probe", "exists", "/proc/pressure/cpu"}}},
						PeriodSeconds: 5, TimeoutSeconds: 10,
					},
				}}},
			},
		},
	}, metav1.CreateOptions{})
	must(t, "make the workload", err)
	must(t, "workload", lab.Poll(within(t, 2*time.Minute), "a Ready pod", func(ctx context.Context) (bool, string, error) {
		d, err := cluster.Kube.AppsV1().Deployments("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		return d.Status.ReadyReplicas == 1, fmt.Sprintf("%+v", d.Status), nil
	}))
	f := u.variant(t, "1.0.13", func(p *uki.Parts) error {
		p.CmdLine += " psi=0"
		return nil
	})
	u.limitTrials(t, 2*time.Minute) // enough for all else to come up
	u.pushAndTry(t, f)
	status := u.awaitVerdict(t, f.Version, "bad")
	u.limitTrials(t, longTrial)
	u.wantRunning(t, status, u.base)
	wantReason(t, status, "default/ReplicaSet/"+name, "0 of 1 pods are Ready")
	must(t, "remove the workload", cluster.Kube.AppsV1().Deployments("default").Delete(t.Context(), name, metav1.DeleteOptions{}))
}

// noNetwork: the new version finds no network, as one without the driver would.
func (u *updating) noNetwork(t *testing.T, f lab.OSFile) {
	u.limitTrials(t, shortTrial)
	must(t, "push", u.push(within(t, 5*time.Minute), f))
	skip := u.EventCount(t)
	must(t, "try", u.try(within(t, time.Minute)))
	_, err := u.WaitEventAfter(within(t, 3*time.Minute), skip, "the reboot", func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventShutdown && e.Text == "rebooting"
	})
	must(t, "reboot", err)
	for _, nic := range []string{qemu.WAN, qemu.LAN} {
		must(t, "pull the cable", u.SetLink(t.Context(), nic, false))
	}
	_, err = u.WaitEventAfter(within(t, longTrial), skip, "the failed trial", func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventUpdate && strings.Contains(e.Text, "the trial has failed")
	})
	must(t, "failed trial", err)
	for _, nic := range []string{qemu.WAN, qemu.LAN} {
		must(t, "plug the cable in", u.SetLink(t.Context(), nic, true))
	}
	status := u.awaitVerdict(t, f.Version, "bad")
	u.wantRunning(t, status, u.base)
	wantReason(t, status, "no network interface has an address")
	u.limitTrials(t, longTrial)
}

// putOff: the owner reboots in the middle of a trial; it is no verdict, and the release
// can be tried again.
func (u *updating) putOff(t *testing.T, f lab.OSFile) {
	u.pushAndTry(t, f)
	_, err := u.WaitStatus(within(t, longTrial), "the trial", func(s *api.Status) (bool, string) {
		return s.Update != nil && s.Update.Trial != nil, s.Phase
	})
	must(t, "trial", err)
	must(t, "reboot", u.call(within(t, time.Minute), func(ctx context.Context, c *api.Client) error { return c.Reboot(ctx) }))
	status := u.awaitVerdict(t, f.Version, "staged")
	u.wantRunning(t, status, u.base)
	if reason := lastVerdict(status).Reason; !strings.Contains(reason, "rebooted or shut down") {
		t.Errorf("the verdict says %q", reason)
	}
}

// diskFull: without room on DATA nothing can be fetched; an OS file that is pushed goes
// to its slot directly.
func (u *updating) diskFull(t *testing.T, f lab.OSFile) {
	other, err := u.suite.Newer(t.Context(), "1.2.0")
	must(t, "build a newer version", err)
	must(t, "publish", u.releases.Publish(t.Context(), other))
	must(t, "pod", u.RunPrivileged(t.Context(), "hoarder", "fill", "/host/heap", "0"))
	_, err = u.WaitStatus(within(t, 6*time.Minute), "the full disk among the problems", func(s *api.Status) (bool, string) {
		return strings.Contains(strings.Join(s.Problems, "\n"), "DATA"), fmt.Sprintf("%q", s.Problems)
	})
	must(t, "full disk", err)
	if err := u.stage(within(t, 5*time.Minute), other.Version); err == nil || !strings.Contains(err.Error(), "full") && !strings.Contains(err.Error(), "space") {
		t.Errorf("staging on a full disk: %v; want it to say that the disk is full", err)
	}
	must(t, "push with a full disk", u.push(within(t, 5*time.Minute), f))
	must(t, "shutdown", u.PowerOff(t.Context()))
	freeSpace(t, u.Machine)
	status := u.MustBoot(t)
	u.wantRunning(t, status, u.base)
	must(t, "workload", u.WaitWorkload(t.Context()))
}

// variablesLost: the firmware has forgotten its variables when it is to start the new
// version; the old one runs, and can have the new one tried again.
func (u *updating) variablesLost(t *testing.T, f lab.OSFile) {
	must(t, "push", u.push(within(t, 5*time.Minute), f))
	skip := u.EventCount(t)
	must(t, "try", u.try(within(t, time.Minute)))
	_, err := u.WaitEventAfter(within(t, 3*time.Minute), skip, "the end of the services", func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventShutdown && e.Text == "unmounting file systems"
	})
	must(t, "shutdown", err)
	must(t, "power cut", u.Kill(t.Context()))
	must(t, "lose the variables", os.Remove(filepath.Join(u.Spec().Dir, "vars.fd")))
	must(t, "start", u.Start(t.Context()))
	status := u.awaitVerdict(t, f.Version, "good")
	u.wantRunning(t, status, f.Version)
	u.base = f.Version
}
