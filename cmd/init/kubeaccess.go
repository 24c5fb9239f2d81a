package main

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
)

// manifestsDir is where a K3s server looks for manifests, at its start and
// every few seconds afterwards, and applies them.
const manifestsDir = k3sData + "/server/manifests"

//go:embed kubernetes-access.yaml
var accessManifest []byte

// kubernetesAccess gives the roles of the machine API and K3s' agents their
// rights in Kubernetes. It is called on servers, before K3s starts.
func kubernetesAccess() error {
	if err := os.MkdirAll(manifestsDir, 0o700); err != nil { // as K3s makes it
		return fmt.Errorf("place the rights in Kubernetes: %w", err)
	}
	// K3s takes a file's name up to the first dot as the name of an object.
	if err := placeFile(filepath.Join(manifestsDir, "mycelium-access.yaml"), accessManifest); err != nil {
		return fmt.Errorf("place the rights in Kubernetes: %w", err)
	}
	return nil
}

// kubernetesServerName is what an API server calls itself to kubectl on the
// machine API's port.
const kubernetesServerName = "kubernetes.mycelium.internal"

// kubeconfigFor returns a kubeconfig that leads to Kubernetes through the
// machine API at address, "host:port", whose certificate for
// kubernetesServerName is by ca (PEM). Who uses it adds the client certificate.
func kubeconfigFor(address string, ca []byte) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: mycelium
  cluster:
    server: https://%s/kubernetes
    tls-server-name: %s
    certificate-authority-data: %s
contexts:
- name: mycelium
  context:
    cluster: mycelium
    user: mycelium
current-context: mycelium
users: []
`, address, kubernetesServerName, base64.StdEncoding.EncodeToString(ca))
}
