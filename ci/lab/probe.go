package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/image/oci"
)

// ProbeImage is the name of the tests' workload: one static program, /probe.
const ProbeImage = "mycelium.os/probe:1"

func (s *Suite) buildProbe() (string, error) {
	program, err := s.build("ci/conformance/probe", "probe", "")
	if err != nil {
		return "", err
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		return "", fmt.Errorf("image of the tests' workload: %w", err)
	}
	archive := filepath.Join(s.Out, "bin", "probe.tar")
	f, err := os.Create(archive)
	if err != nil {
		return "", fmt.Errorf("image of the tests' workload: %w", err)
	}
	err = oci.Write(f, oci.Image{Name: ProbeImage, Arch: "amd64", Program: binary, Path: "/probe"})
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("image of the tests' workload: %w", err)
	}
	return archive, nil
}
