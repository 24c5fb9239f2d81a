package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/qemu"
)

func newDemoCommand(flags *networkFlags) *cobra.Command {
	var archive string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "demo [NODE]",
		Short: "Run the demo workload and ask it for an answer",
		Long: `Run the demo workload and ask it for an answer: its image goes into the
nodes' image stores without any registry, a Deployment and a Service are applied,
and once the pod is ready the Service is asked from this computer, by way of
NODE, and from inside the cluster.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: flags.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			network, err := flags.open()
			if err != nil {
				return err
			}
			node, err := flags.node(args)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return runDemo(ctx, cmd.OutOrStdout(), network.Nodes(), node, archive)
		},
	}
	cmd.Flags().StringVar(&archive, "image-archive", "out/hello.tar", "the demo image's archive (make demo-image)")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long everything may take")
	return cmd
}

// runDemo runs the demo on the cluster of nodes, whose first one is a server, and
// asks its Service by way of node.
func runDemo(ctx context.Context, w io.Writer, nodes []*qemu.Node, node *qemu.Node, archive string) error {
	image, err := archiveImage(archive)
	if err != nil {
		return err
	}
	kubeconfig, err := nodes[0].Kubeconfig(ctx)
	if err != nil {
		return err
	}
	demo, err := newDemo(kubeconfig, image)
	if err != nil {
		return err
	}
	for _, n := range nodes { // the pod may come to any of them
		fmt.Fprintf(w, "Loading %s into %s\n", image, n.Name())
		if err := loadImage(ctx, n, archive); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "Applying Deployment and Service %s\n", demoName)
	if err := demo.apply(ctx); err != nil {
		return err
	}
	pod, err := demo.waitReady(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "Pod %s is ready on %s\n", pod.Name, pod.Spec.NodeName)
	address, err := node.Address(qemu.DemoPort)
	if err != nil {
		return err
	}
	url := "http://" + address + "/"
	answer, err := fetch(ctx, url)
	if err != nil {
		return fmt.Errorf("ask the Service from this computer: %w", err)
	}
	fmt.Fprintf(w, "\nFrom this computer, GET %s:\n%s", url, indent(answer))
	inside, answer, err := demo.askInside(ctx, pod)
	if err != nil {
		return fmt.Errorf("ask the Service from inside the cluster: %w", err)
	}
	fmt.Fprintf(w, "\nFrom inside the cluster, GET %s:\n%s", inside, indent(answer))
	_, err = fmt.Fprintf(w, "\nexport KUBECONFIG=%s\n", nodes[0].KubeconfigPath())
	return err
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// maxAnswer bounds what is read of the demo's answer, in bytes.
const maxAnswer = 64 << 10

// fetch asks url until it answers: the rules that carry a new Service's traffic
// come a moment after its pods are ready.
func fetch(ctx context.Context, url string) (string, error) {
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for {
		answer, err := fetchOnce(ctx, client, url)
		if err == nil {
			return answer, nil
		}
		select {
		case <-ctx.Done():
			return "", errors.Join(err, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func fetchOnce(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return string(body), nil
}

// maxManifest bounds what is read of an archive's manifest, in bytes.
const maxManifest = 1 << 20

// archiveImage returns the name of the first image in a docker archive.
func archiveImage(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open the demo image (make it with \"make demo-image\", or name it with --image-archive): %w", err)
	}
	defer f.Close()
	name, err := manifestImage(f)
	if err != nil {
		return "", fmt.Errorf("read the image archive %s: %w", path, err)
	}
	return name, nil
}

func manifestImage(r io.Reader) (string, error) {
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return "", errors.New("it has no manifest.json: it is not a docker archive")
		}
		if err != nil {
			return "", err
		}
		if header.Name != "manifest.json" {
			continue
		}
		var images []struct{ RepoTags []string }
		if err := json.NewDecoder(io.LimitReader(archive, maxManifest)).Decode(&images); err != nil {
			return "", fmt.Errorf("manifest.json: %w", err)
		}
		if len(images) == 0 || len(images[0].RepoTags) == 0 {
			return "", errors.New("manifest.json names no image")
		}
		return images[0].RepoTags[0], nil
	}
}
