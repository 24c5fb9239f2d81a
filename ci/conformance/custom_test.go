package conformance

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func customResourceCases() []testCase {
	return []testCase{
		{"custom resources", customResources},
		{"admission policy", admissionPolicy},
	}
}

func isNotFound(err error) bool { return apierrors.IsNotFound(err) }

// spores is a custom resource with a schema, a CEL rule, defaults, a status
// and a scale subresource, and a printed column. %s is the group.
const spores = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: spores.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {plural: spores, singular: spore, kind: Spore}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.copies, statusReplicasPath: .status.copies}
    additionalPrinterColumns: [{name: Copies, type: integer, jsonPath: .spec.copies}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [kind]
            x-kubernetes-validations:
            - {rule: "self.kind != 'latent' || self.copies == 1", message: a latent spore has one copy}
            properties:
              kind: {type: string, enum: [primary, seed, latent]}
              copies: {type: integer, minimum: 1, maximum: 9, default: 1}
          status:
            type: object
            properties: {copies: {type: integer}}
`

func customResources(s *scope) {
	group := s.ns + ".example.org"
	s.apply(fmt.Sprintf(spores, group))
	defer s.discard("", "delete", "crd", "spores."+group, "--wait=false", "--ignore-not-found")
	// Stock `kubectl wait` fails on a definition that is younger than its first condition.
	s.wait("the definition's first condition", func(context.Context) (bool, string, error) {
		out, err := s.tryKubectl("", "get", "crd", "spores."+group, "-o", "jsonpath={.status.conditions[*].type}")
		return out != "", out, err
	})
	s.runKubectl("", "wait", "crd/spores."+group, "--for=condition=Established", "--timeout=120s")
	spore := func(name, spec string) string {
		return fmt.Sprintf("apiVersion: %s/v1\nkind: Spore\nmetadata: {name: %s}\nspec: %s\n", group, name, spec)
	}
	apply := func(manifest string) (string, error) { return s.tryKubectl(manifest, "apply", "-f", "-") }

	// Discovery may lag behind the condition.
	s.wait("the new kind to be served", func(context.Context) (bool, string, error) {
		out, err := apply(spore("good", "{kind: seed}"))
		return err == nil, out, err
	})
	for what, spec := range map[string]string{
		"Unsupported value":           "{kind: fungus}",
		"less than or equal to 9":     "{kind: seed, copies: 10}",
		"Required value":              "{copies: 2}",
		"a latent spore has one copy": "{kind: latent, copies: 2}",
	} {
		_, err := apply(spore("bad", spec))
		s.refused(spec, err, what)
	}
	full := "spores." + group
	s.want("table with default", s.runKubectl("", "get", full), "COPIES", "good   1")
	// The status is written apart from the spec.
	s.runKubectl("", "patch", full, "good", "--type=merge", "-p", `{"status":{"copies":7}}`)
	s.want("status by way of the spec", "<"+s.runKubectl("", "get", full, "good", "-o", "jsonpath={.status.copies}")+">", "<>")
	s.runKubectl("", "patch", full, "good", "--subresource=status", "--type=merge", "-p", `{"status":{"copies":7},"spec":{"copies":9}}`)
	s.want("status subresource", s.runKubectl("", "get", full, "good", "-o", "jsonpath={.status.copies} {.spec.copies}"), "7 1")
	s.runKubectl("", "scale", full, "good", "--replicas=4")
	s.want("scale subresource", s.runKubectl("", "get", full, "good", "-o", "jsonpath={.spec.copies}"), "4")

	s.runKubectl("", "delete", "crd", full, "--timeout=180s")
	s.wait("the kind to be gone", func(context.Context) (bool, string, error) {
		_, err := s.tryKubectl("", "get", full, "good")
		return err != nil && strings.Contains(err.Error(), "the server doesn't have a resource type"), fmt.Sprint(err), nil
	})
}

// policy refuses config maps with a forbidden key in one namespace.
const policy = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
  validations: [{expression: "!('forbidden' in object.data)", message: that key is forbidden here}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec:
  policyName: %[1]s
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}}
`

func admissionPolicy(s *scope) {
	s.apply(fmt.Sprintf(policy, s.ns))
	defer s.discard(fmt.Sprintf(policy, s.ns), "delete", "-f", "-", "--wait=false")
	s.wait("the policy to refuse", func(context.Context) (bool, string, error) {
		_, err := s.tryKubectl("", "create", "configmap", "bad", "--from-literal=forbidden=1", "--dry-run=server")
		return err != nil && strings.Contains(err.Error(), "that key is forbidden here"), fmt.Sprint(err), nil
	})
	s.runKubectl("", "create", "configmap", "good", "--from-literal=allowed=1")
}
