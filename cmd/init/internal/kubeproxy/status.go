package kubeproxy

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// retrySeconds is when to ask again while Kubernetes is down. kubectl does so
// by itself, ten times.
const retrySeconds = 2

// status is an error as Kubernetes answers it: an object Status (meta/v1).
type status struct {
	Code    int
	Reason  string
	Message string
	// Retry says that the call has done nothing and can be repeated.
	Retry bool
}

func forbidden(message string) *status {
	return &status{Code: http.StatusForbidden, Reason: "Forbidden", Message: message}
}

func unavailable(message string) *status {
	return &status{Code: http.StatusServiceUnavailable, Reason: "ServiceUnavailable", Message: message, Retry: true}
}

func (s *status) write(w http.ResponseWriter) {
	object := map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": struct{}{},
		"status": "Failure", "message": s.Message, "reason": s.Reason, "code": s.Code,
	}
	if s.Retry {
		object["details"] = map[string]any{"retryAfterSeconds": retrySeconds}
		w.Header().Set("Retry-After", strconv.Itoa(retrySeconds))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(s.Code)
	_ = json.NewEncoder(w).Encode(object) // the caller may have gone
}
