// Package api is the machine API of a node: what it reports and what its owner
// may ask of it, over HTTP with JSON bodies on mutually authenticated TLS 1.3.
//
//	GET  /v1/status                    Status
//	GET  /v1/status?watch=true         a Status a line, whenever it changes
//	GET  /v1/kubeconfig                admin kubeconfig (YAML), server https://127.0.0.1:6443
//	GET  /v1/logs                      names of the logs (JSON array)
//	GET  /v1/logs/{name}?follow=true&tail=N   a log as text: "kernel", "init" or a service's name
//	PUT  /v1/images/{file}             a container image archive (docker or OCI, .tar, .tar.zst) for the node's image store
//	POST /v1/reboot, /v1/shutdown      orderly; answers 202 before it begins
//
// Errors are JSON objects {"error": "..."} with a 4xx or 5xx status.
package api

import "time"

// Port is the TCP port that a node's machine API listens on.
const Port = 6440

// Status is what a node knows of itself.
type Status struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Board   string `json:"board"`
	Arch    string `json:"arch"`
	Kernel  string `json:"kernel"`
	// BootID changes with every boot (/proc/sys/kernel/random/boot_id).
	BootID string `json:"bootID"`
	// MachineID is kept across boots and wiped with STATE.
	MachineID string    `json:"machineID"`
	Time      TimeInfo  `json:"time"`
	Booted    time.Time `json:"booted"`
	// Phase is the name of the boot phase under way, or "running".
	Phase      string      `json:"phase"`
	Phases     []Phase     `json:"phases"`
	Interfaces []Interface `json:"interfaces"`
	Services   []Service   `json:"services"`
	Kubernetes Kubernetes  `json:"kubernetes"`
	Memory     Memory      `json:"memory"`
	Volumes    []Volume    `json:"volumes"`
	// Problems are conditions that the owner should know of, in plain words,
	// each with what to do; empty on a healthy node.
	Problems []string `json:"problems"`
}

// TimeInfo says what the node's clock rests on.
type TimeInfo struct {
	Now time.Time `json:"now"`
	// Source is "ntp", "rtc" or "floor" (RTC was implausible and no server answered).
	Source string `json:"source"`
}

// Phase is one boot phase.
type Phase struct {
	Name string `json:"name"`
	// Start is seconds since the kernel started.
	Start float64 `json:"start"`
	// Seconds is how long it took; 0 while it runs.
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// Interface is a network interface with its addresses in CIDR form.
type Interface struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac"`
	Up        bool     `json:"up"`
	Addresses []string `json:"addresses"`
}

// Service is a supervised service.
type Service struct {
	Name string `json:"name"`
	// State is "waiting", "running", "backoff", "stopped".
	State     string    `json:"state"`
	PID       int       `json:"pid"`
	Restarts  int       `json:"restarts"`
	Since     time.Time `json:"since"`
	LastError string    `json:"lastError,omitempty"`
}

// Kubernetes is the node's view of its cluster.
type Kubernetes struct {
	Version   string `json:"version"`
	APIUp     bool   `json:"apiUp"`
	NodeReady bool   `json:"nodeReady"`
	// Reason is why the node is not Ready, from its Ready condition.
	Reason      string `json:"reason,omitempty"`
	PodsRunning int    `json:"podsRunning"`
	PodsTotal   int    `json:"podsTotal"`
	// APIUpAt and ReadyAt are seconds from kernel start to the first time.
	APIUpAt float64 `json:"apiUpAt"`
	ReadyAt float64 `json:"readyAt"`
}

// Memory is in bytes, from /proc/meminfo.
type Memory struct {
	Total     uint64 `json:"total"`
	Available uint64 `json:"available"`
}

// Volume is a partition that the node has mounted or refused to mount. Sizes are bytes.
type Volume struct {
	Label  string `json:"label"`
	Device string `json:"device"`
	Size   uint64 `json:"size"`
	Free   uint64 `json:"free"`
	// Reserved is the part of Size - Free that the node holds back to recover when
	// the volume is full.
	Reserved uint64 `json:"reserved,omitempty"`
	// State is "mounted", "created" (made in this boot), "repaired", "corrupt" or "missing".
	State string `json:"state"`
}
