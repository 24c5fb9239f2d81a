package api

import (
	"bufio"
	"context"
	"fmt"
	"regexp"
	"strings"

	"connectrpc.com/connect"
	"filippo.io/age"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/config"
)

// machineService is MachineService.
type machineService struct {
	node   Node
	server *Server
}

func answer[T any](m *T) (*connect.Response[T], error) { return connect.NewResponse(m), nil }

func (m *machineService) GetStatus(context.Context, *connect.Request[machinev1.GetStatusRequest]) (*connect.Response[machinev1.Status], error) {
	s, _ := m.node.Status()
	return answer(statusToWire(s))
}

func (m *machineService) ListProcesses(context.Context, *connect.Request[machinev1.ListProcessesRequest]) (*connect.Response[machinev1.ListProcessesResponse], error) {
	list, err := m.node.Processes()
	if err != nil {
		return nil, err
	}
	return answer(&machinev1.ListProcessesResponse{Processes: each(list, processToWire)})
}

func (m *machineService) GetTime(context.Context, *connect.Request[machinev1.GetTimeRequest]) (*connect.Response[machinev1.GetTimeResponse], error) {
	return answer(timeToWire(m.node.Time()))
}

func (m *machineService) ListLogs(context.Context, *connect.Request[machinev1.ListLogsRequest]) (*connect.Response[machinev1.ListLogsResponse], error) {
	return answer(&machinev1.ListLogsResponse{Names: m.node.LogNames()})
}

func (m *machineService) GetMetrics(context.Context, *connect.Request[machinev1.GetMetricsRequest]) (*connect.Response[machinev1.GetMetricsResponse], error) {
	return answer(&machinev1.GetMetricsResponse{Text: m.node.Metrics()})
}

func (m *machineService) RestartService(_ context.Context, r *connect.Request[machinev1.RestartServiceRequest]) (*connect.Response[machinev1.RestartServiceResponse], error) {
	if err := m.node.RestartService(r.Msg.GetName()); err != nil {
		return nil, err
	}
	return answer(&machinev1.RestartServiceResponse{})
}

func (m *machineService) Reboot(context.Context, *connect.Request[machinev1.RebootRequest]) (*connect.Response[machinev1.RebootResponse], error) {
	m.node.Reboot()
	return answer(&machinev1.RebootResponse{})
}

func (m *machineService) Shutdown(context.Context, *connect.Request[machinev1.ShutdownRequest]) (*connect.Response[machinev1.ShutdownResponse], error) {
	m.node.Shutdown()
	return answer(&machinev1.ShutdownResponse{})
}

func (m *machineService) Reset(_ context.Context, r *connect.Request[machinev1.ResetRequest]) (*connect.Response[machinev1.ResetResponse], error) {
	scope, err := scopeFromWire(r.Msg.GetScope())
	if err != nil {
		return nil, err
	}
	if err := m.node.Reset(scope, r.Msg.GetShutdown()); err != nil {
		return nil, err
	}
	return answer(&machinev1.ResetResponse{})
}

func (m *machineService) GetConfiguration(context.Context, *connect.Request[machinev1.GetConfigurationRequest]) (*connect.Response[machinev1.GetConfigurationResponse], error) {
	document, source, err := m.node.Configuration()
	if err != nil {
		return nil, err
	}
	return answer(&machinev1.GetConfigurationResponse{Document: string(document), Source: source})
}

func (m *machineService) ApplyConfiguration(ctx context.Context, r *connect.Request[machinev1.ApplyConfigurationRequest]) (*connect.Response[machinev1.ApplyConfigurationResponse], error) {
	document := r.Msg.GetDocument()
	if len(document) > config.MaxSize {
		return nil, fmt.Errorf("%w: the document has %d bytes, at most %d are taken", ErrInvalid, len(document), config.MaxSize)
	}
	changes, err := m.node.ApplyConfiguration(ctx, []byte(document), r.Msg.GetDryRun())
	if err != nil {
		return nil, err
	}
	return answer(&machinev1.ApplyConfigurationResponse{Changes: each(changes, changeToWire)})
}

func (m *machineService) GetKubeconfig(context.Context, *connect.Request[machinev1.GetKubeconfigRequest]) (*connect.Response[machinev1.GetKubeconfigResponse], error) {
	b, err := m.node.Kubeconfig()
	if err != nil {
		return nil, err
	}
	return answer(&machinev1.GetKubeconfigResponse{Kubeconfig: string(b)})
}

var imageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.tar(\.zst)?$`)

// ValidImageName reports whether a file name may stand in the image store: a
// plain name of letters, digits, '.', '_' and '-' that ends with .tar or .tar.zst.
func ValidImageName(name string) bool { return imageName.MatchString(name) }

func (m *machineService) LoadImage(ctx context.Context, stream *connect.ClientStream[machinev1.LoadImageRequest]) (*connect.Response[machinev1.LoadImageResponse], error) {
	first, err := firstOf(stream, "a name")
	if err != nil {
		return nil, err
	}
	name := first.GetName()
	if !ValidImageName(name) {
		return nil, fmt.Errorf("%w: %.200q is no name of an image archive: letters, digits, '.', '_' and '-', ending with .tar or .tar.zst", ErrInvalid, name)
	}
	data := &upload[machinev1.LoadImageRequest]{
		stream: stream, what: "the image archive", limit: MaxImageSize,
		data: func(r *machinev1.LoadImageRequest) ([]byte, bool) {
			_, ok := r.GetPart().(*machinev1.LoadImageRequest_Data)
			return r.GetData(), ok
		},
	}
	if err := m.node.PutImage(ctx, name, data); err != nil {
		return nil, fmt.Errorf("store the image %s: %w", name, err)
	}
	return answer(&machinev1.LoadImageResponse{})
}

func (m *machineService) GetSupportBundle(ctx context.Context, r *connect.Request[machinev1.GetSupportBundleRequest], stream *connect.ServerStream[machinev1.GetSupportBundleResponse]) error {
	recipients, err := parseRecipients(r.Msg.GetRecipients())
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(bundleWriter{stream}, chunk)
	sealed, err := age.Encrypt(out, recipients...)
	if err != nil {
		return fmt.Errorf("encrypt the support bundle: %w", err)
	}
	if err := m.node.SupportBundle(ctx, sealed); err != nil {
		return fmt.Errorf("make the support bundle: %w", err)
	}
	if err := sealed.Close(); err != nil {
		return fmt.Errorf("encrypt the support bundle: %w", err)
	}
	return out.Flush()
}

const maxRecipients = 32

// parseRecipients reads age recipients (age1...).
func parseRecipients(texts []string) ([]age.Recipient, error) {
	if len(texts) == 0 || len(texts) > maxRecipients {
		return nil, fmt.Errorf("%w: a support bundle is encrypted: name 1 to %d age recipients (age1...), not %d", ErrInvalid, maxRecipients, len(texts))
	}
	var all []age.Recipient
	for i, text := range texts {
		one, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil || len(one) != 1 || strings.ContainsAny(text, "\r\n#") {
			// The text is not shown: it may be an identity, given by mistake.
			return nil, fmt.Errorf("%w: recipient %d of %d is no age recipient (age1...): make one with age-keygen", ErrInvalid, i+1, len(texts))
		}
		all = append(all, one[0])
	}
	return all, nil
}

type bundleWriter struct {
	stream *connect.ServerStream[machinev1.GetSupportBundleResponse]
}

func (w bundleWriter) Write(p []byte) (int, error) {
	for n := 0; n < len(p); n += chunk {
		if err := w.stream.Send(&machinev1.GetSupportBundleResponse{Data: p[n:min(n+chunk, len(p))]}); err != nil {
			return n, err
		}
	}
	return len(p), nil
}
