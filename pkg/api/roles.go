package api

import (
	"strings"

	"github.com/digital-mycelium/os/pkg/api/machine/v1/machinev1connect"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

// audience is whom a call is for at all.
type audience uint8

const (
	members   audience = iota
	newcomers          // who show an invite instead of a certificate
	anybody
)

// need is what a call asks of its caller's certificate.
type need struct {
	For  audience
	API  identity.APIRole
	Node identity.NodeRole
}

// OSFilePath is where the member server has OS files for other nodes, each below
// the 64 lower-case hexadecimal digits of its SHA-256. GET (with ranges) and HEAD
// answer as delta.Handler does.
const OSFilePath = delta.PathPrefix

// Further paths of the member server beside the procedures.
const (
	metricsPath    = "/metrics"
	kubernetesPath = "/kubernetes/" // and all below it
)

// needs is the one table of who may call what. What is not in it is refused.
var needs = map[string]need{
	machinev1connect.MachineServiceGetStatusProcedure:     {API: identity.Reader},
	machinev1connect.MachineServiceWatchStatusProcedure:   {API: identity.Reader},
	machinev1connect.MachineServiceWatchEventsProcedure:   {API: identity.Reader},
	machinev1connect.MachineServiceListProcessesProcedure: {API: identity.Reader},
	machinev1connect.MachineServiceGetTimeProcedure:       {API: identity.Reader},
	machinev1connect.MachineServiceListLogsProcedure:      {API: identity.Reader},
	machinev1connect.MachineServiceReadLogProcedure:       {API: identity.Reader},
	machinev1connect.MachineServiceGetMetricsProcedure:    {API: identity.Reader},
	machinev1connect.MachineServiceGetKubeconfigProcedure: {API: identity.Reader},
	machinev1connect.MachineServiceCheckUpdateProcedure:   {API: identity.Reader},
	machinev1connect.NetworkServiceListMembersProcedure:   {API: identity.Reader},
	metricsPath:    {API: identity.Reader},
	kubernetesPath: {API: identity.Reader}, // Kubernetes decides the rest

	machinev1connect.MachineServiceRestartServiceProcedure:   {API: identity.Operator},
	machinev1connect.MachineServiceRebootProcedure:           {API: identity.Operator},
	machinev1connect.MachineServiceShutdownProcedure:         {API: identity.Operator},
	machinev1connect.MachineServiceLoadImageProcedure:        {API: identity.Operator},
	machinev1connect.MachineServiceGetSupportBundleProcedure: {API: identity.Operator},

	// What may run, the signatures of releases and developers decide; when, an operator.
	machinev1connect.MachineServiceStageUpdateProcedure:    {API: identity.Operator},
	machinev1connect.MachineServicePushUpdateProcedure:     {API: identity.Operator},
	machinev1connect.MachineServiceTryUpdateProcedure:      {API: identity.Operator},
	machinev1connect.MachineServiceRollBackUpdateProcedure: {API: identity.Operator},
	machinev1connect.MachineServiceHoldUpdateProcedure:     {API: identity.Operator},
	machinev1connect.MachineServiceForgiveUpdateProcedure:  {API: identity.Operator},

	machinev1connect.MachineServiceResetProcedure:              {API: identity.Admin},
	machinev1connect.MachineServiceInstallProcedure:            {API: identity.Admin},
	machinev1connect.MachineServiceGetConfigurationProcedure:   {API: identity.Admin},
	machinev1connect.MachineServiceApplyConfigurationProcedure: {API: identity.Admin},
	machinev1connect.NetworkServiceInviteProcedure:             {API: identity.Admin},
	machinev1connect.NetworkServiceRevokeProcedure:             {API: identity.Admin},
	machinev1connect.NetworkServiceAddStatementsProcedure:      {API: identity.Admin},

	machinev1connect.NetworkServiceExchangeProcedure:    {Node: identity.Client},
	machinev1connect.NetworkServiceJoinClusterProcedure: {Node: identity.Agent},
	OSFilePath: {Node: identity.Client},

	machinev1connect.AdmissionServiceAdmitProcedure: {For: newcomers},
	machinev1connect.AdmissionServiceRenewProcedure: {},

	machinev1connect.EnrolmentServiceDescribeProcedure: {For: anybody},
	machinev1connect.EnrolmentServiceEnrolProcedure:    {For: anybody},
}

// entry returns the key in needs for a request's path.
func entry(path string) string {
	for _, prefix := range []string{kubernetesPath, OSFilePath} {
		if strings.HasPrefix(path, prefix) {
			return prefix
		}
	}
	return path
}

// needFor returns the entry for a request's path.
func needFor(path string) (n need, known bool) {
	n, known = needs[entry(path)]
	return n, known
}
