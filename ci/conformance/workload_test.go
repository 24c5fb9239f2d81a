package conformance

import (
	"context"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/digital-mycelium/os/ci/lab"
)

func workloadCases() []testCase {
	return []testCase{
		{"deployment rollout and rollback", deploymentRollout},
		{"deployment that never gets ready", deploymentStuck},
		{"job completes", jobCompletes},
		{"job fails at its backoff limit", jobFails},
		{"cron job", cronJob},
		{"stateful set", statefulSet},
		{"daemon set", daemonSet},
	}
}

// deployment is a Deployment "web" with %[1]d replicas; %[2]s is the value of GENERATION.
const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %[1]d
  selector: {matchLabels: {app: web}}
  progressDeadlineSeconds: 600
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: ` + lab.ProbeImage + `
        imagePullPolicy: Never
        command: [/probe, serve, "8080"]
        env: [{name: GENERATION, value: "%[2]s"}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 2, timeoutSeconds: 20}
`

func deploymentRollout(s *scope) {
	s.apply(fmt.Sprintf(deployment, 1, "one"))
	s.runKubectl("", "rollout", "status", "deployment/web", "--timeout=300s")
	s.runKubectl("", "scale", "deployment/web", "--replicas=2")
	s.apply(fmt.Sprintf(deployment, 2, "two"))
	s.runKubectl("", "rollout", "status", "deployment/web", "--timeout=300s")
	s.waitReplicas("two", 2)
	s.runKubectl("", "rollout", "undo", "deployment/web")
	s.runKubectl("", "rollout", "status", "deployment/web", "--timeout=300s")
	s.waitReplicas("one", 2)
	s.want("history", s.runKubectl("", "rollout", "history", "deployment/web"), "2", "3")
	// A deleted pod is replaced.
	s.runKubectl("", "delete", "pods", "-l", "app=web", "--wait=false")
	s.runKubectl("", "rollout", "status", "deployment/web", "--timeout=300s")
}

// waitReplicas waits until exactly n pods of the deployment live, all of one generation.
func (s *scope) waitReplicas(generation string, n int) {
	s.Helper()
	s.wait(fmt.Sprintf("%d pods of generation %s", n, generation), func(ctx context.Context) (bool, string, error) {
		pods, err := s.kube.CoreV1().Pods(s.ns).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return false, "", err
		}
		var found []string
		right := len(pods.Items) == n
		for _, p := range pods.Items {
			value := p.Spec.Containers[0].Env[0].Value
			found = append(found, value)
			right = right && value == generation && isReady(&p)
		}
		return right, strings.Join(found, " "), nil
	})
}

func deploymentStuck(s *scope) {
	broken := strings.NewReplacer(`serve, "8080"`, `exit, "1"`, "progressDeadlineSeconds: 600", "progressDeadlineSeconds: 20").
		Replace(fmt.Sprintf(deployment, 1, "one"))
	s.apply(broken)
	_, err := s.tryKubectl("", "rollout", "status", "deployment/web", "--timeout=240s")
	s.refused("a deployment whose pods end", err, "exceeded its progress deadline")
	s.wait("a back-off", func(ctx context.Context) (bool, string, error) {
		out := s.runKubectl("", "get", "pods", "-l", "app=web")
		return strings.Contains(out, "CrashLoopBackOff"), out, nil
	})
}

// job is one whose pods run the probe with args.
func job(name string, args ...string) *batchv1.Job {
	p := pod(name, args...)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: p.ObjectMeta, Spec: p.Spec}},
	}
}

// waitJob waits for a condition of a job.
func (s *scope) waitJob(name string, want batchv1.JobConditionType) *batchv1.Job {
	s.Helper()
	var j *batchv1.Job
	s.wait(fmt.Sprintf("job %s: %s", name, want), func(ctx context.Context) (done bool, state string, err error) {
		j, err = s.kube.BatchV1().Jobs(s.ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		for _, c := range j.Status.Conditions {
			done = done || c.Type == want && c.Status == corev1.ConditionTrue
		}
		return done, fmt.Sprintf("%+v", j.Status), nil
	})
	return j
}

func jobCompletes(s *scope) {
	j := job("sum", "env", "JOB_COMPLETION_INDEX")
	j.Spec.Completions, j.Spec.Parallelism = ptr(int32(2)), ptr(int32(2))
	j.Spec.CompletionMode = ptr(batchv1.IndexedCompletion)
	j.Spec.TTLSecondsAfterFinished = ptr(int32(600))
	_, err := s.kube.BatchV1().Jobs(s.ns).Create(s.ctx, j, metav1.CreateOptions{})
	s.must("create job", err)
	done := s.waitJob("sum", batchv1.JobComplete)
	if done.Status.Succeeded != 2 || done.Status.CompletedIndexes != "0,1" {
		s.Errorf("status %+v: want two successes, indexes 0,1", done.Status)
	}
	s.want("log of the job", s.runKubectl("", "logs", "job/sum", "--all-pods"), "JOB_COMPLETION_INDEX=")
}

func jobFails(s *scope) {
	j := job("doomed", "exit", "7")
	j.Spec.BackoffLimit = ptr(int32(0))
	_, err := s.kube.BatchV1().Jobs(s.ns).Create(s.ctx, j, metav1.CreateOptions{})
	s.must("create job", err)
	failed := s.waitJob("doomed", batchv1.JobFailed)
	if failed.Status.Failed != 1 {
		s.Errorf("%d failed pods, want 1", failed.Status.Failed)
	}
	for _, c := range failed.Status.Conditions {
		if c.Type == batchv1.JobFailed && c.Reason != batchv1.JobReasonBackoffLimitExceeded {
			s.Errorf("reason %q, want %q", c.Reason, batchv1.JobReasonBackoffLimitExceeded)
		}
	}
}

func cronJob(s *scope) {
	j := job("tick", "exit", "0")
	cron := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "tick"},
		Spec:       batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: j.Spec}},
	}
	_, err := s.kube.BatchV1().CronJobs(s.ns).Create(s.ctx, cron, metav1.CreateOptions{})
	s.must("create cron job", err)
	s.wait("a run of the cron job", func(ctx context.Context) (bool, string, error) {
		c, err := s.kube.BatchV1().CronJobs(s.ns).Get(ctx, "tick", metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		return c.Status.LastSuccessfulTime != nil, fmt.Sprintf("%+v", c.Status), nil
	})
}

// members is a StatefulSet with a headless service; each pod adds a line to its volume's file.
const members = `
apiVersion: v1
kind: Service
metadata: {name: members}
spec: {clusterIP: None, selector: {app: members}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: members}
spec:
  serviceName: members
  replicas: 2
  selector: {matchLabels: {app: members}}
  template:
    metadata: {labels: {app: members}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: ` + lab.ProbeImage + `
        imagePullPolicy: Never
        command: [/probe, serve, "8080"]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 2, timeoutSeconds: 20}
`

func statefulSet(s *scope) {
	s.apply(members)
	s.runKubectl("", "rollout", "status", "statefulset/members", "--timeout=300s")
	first := s.waitPod("members-0", "Ready", isReady)
	second := s.waitPod("members-1", "Ready", isReady)
	if second.CreationTimestamp.Before(&first.CreationTimestamp) {
		s.Error("members-1 was made before members-0")
	}
	// A replaced pod keeps its name.
	s.runKubectl("", "delete", "pod", "members-1", "--wait=false")
	s.waitPod("members-1", "replaced", func(p *corev1.Pod) bool { return p.UID != second.UID && isReady(p) })
	s.runKubectl("", "scale", "statefulset/members", "--replicas=1")
	s.gone("members-1", func(ctx context.Context) error {
		_, err := s.kube.CoreV1().Pods(s.ns).Get(ctx, "members-1", metav1.GetOptions{})
		return err
	})
}

func daemonSet(s *scope) {
	manifest := strings.NewReplacer("Deployment", "DaemonSet", "  replicas: 1\n", "", "  progressDeadlineSeconds: 600\n", "",
		"  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}\n", "").Replace(fmt.Sprintf(deployment, 1, "one"))
	s.apply(manifest)
	s.runKubectl("", "rollout", "status", "daemonset/web", "--timeout=300s")
	s.want("state", s.runKubectl("", "get", "daemonset/web", "-o", "jsonpath={.status.numberReady}"), "1")
}
