// Package rootlessports stands in for the port forwarder of K3s' rootless mode.
package rootlessports

import (
	"context"

	corev1 "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
)

// Register does nothing.
func Register(ctx context.Context, services corev1.ServiceController, enabled bool, httpsPort int) error {
	return nil
}
