// Command flash measures "mycelium flash" to a file against what its user would
// otherwise do, "dd bs=4M conv=fsync", side by side in one run: with an image that is
// full, and with one that is mostly empty and has a block map.
//
// docs/BENCHMARKS.md says how; the result goes to out/bench/flash.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/digital-mycelium/os/pkg/bmap"
)

// options are the command line's.
type options struct {
	mycelium, out string
	sizeMiB       int64
	runs          int
}

const mib = 1 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.mycelium, "mycelium", "bin/mycelium", "the command line's `program`")
	flag.StringVar(&o.out, "out", "out/bench", "`directory` for the images, of which it needs twice the size, and the result")
	flag.Int64Var(&o.sizeMiB, "size", 4096, "size of the images in `MiB`")
	flag.IntVar(&o.runs, "runs", 3, "how often each way is measured, in turns")
	flag.Parse()
	if err := measure(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// kind is a kind of image.
type kind struct {
	name string
	// filled is how much of the image holds something: one of so many parts.
	filled int64
	// goal is how many times as fast as dd flash is to be, without reading back.
	goal float64
}

func kinds() []kind {
	return []kind{{"full", 1, 0.9}, {"a 32nd full, block map", 32, 5}}
}

// way is a way to write an image.
type way struct {
	name    string
	command func(o options, image, to string) []string
}

func ways() []way {
	return []way{
		{"dd", func(_ options, image, to string) []string {
			return []string{"dd", "if=" + image, "of=" + to, "bs=4M", "conv=fsync", "status=none"}
		}},
		{"flash --verify=false", func(o options, image, to string) []string {
			return []string{o.mycelium, "flash", "--verify=false", image, to}
		}},
		{"flash", func(o options, image, to string) []string { return []string{o.mycelium, "flash", image, to} }},
	}
}

func measure(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(mkdir(o.out), "flash")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var table strings.Builder
	fmt.Fprintf(&table, "| image of %d MiB | way | time | rate | dd's time / its time | goal |\n|---|---|---|---|---|---|\n", o.sizeMiB)
	for _, k := range kinds() {
		image := filepath.Join(dir, "image.img")
		if err := makeImage(image, o.sizeMiB*mib, k.filled); err != nil {
			return err
		}
		times := make([][]time.Duration, len(ways()))
		for range o.runs {
			for i, w := range ways() {
				took, err := once(ctx, w.command(o, image, filepath.Join(dir, "target")))
				if err != nil {
					return err
				}
				fmt.Fprintf(os.Stderr, "%s, %s: %.2f s\n", k.name, w.name, took.Seconds())
				times[i] = append(times[i], took)
			}
		}
		rows(&table, k, o.sizeMiB, times)
	}
	fmt.Print(table.String())
	return os.WriteFile(filepath.Join(o.out, "flash.md"), []byte(table.String()), 0o644)
}

// mkdir makes the directory; what is wrong with it shows when it is used.
func mkdir(path string) string {
	_ = os.MkdirAll(path, 0o755)
	return path
}

// rows writes a line for each way: its median time and how many times as fast as the first it is.
func rows(w io.Writer, k kind, sizeMiB int64, times [][]time.Duration) {
	for i, way := range ways() {
		took, base := median(times[i]).Seconds(), median(times[0]).Seconds()
		goal := ""
		if i == 1 {
			goal = fmt.Sprintf("%.1f: met", k.goal)
			if base/took < k.goal {
				goal = fmt.Sprintf("%.1f: **not met**", k.goal)
			}
		}
		fmt.Fprintf(w, "| %s | %s | %.2f s | %.0f MiB/s | %.2f | %s |\n", k.name, way.name, took, float64(sizeMiB)/took, base/took, goal)
	}
}

func median(list []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// once runs one command, which makes a new file, with nothing left to be written before.
func once(ctx context.Context, command []string) (time.Duration, error) {
	target := strings.TrimPrefix(command[len(command)-1], "of=")
	for _, word := range command {
		if to, ok := strings.CutPrefix(word, "of="); ok {
			target = to
		}
	}
	syscall.Sync()
	begin := time.Now()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
	}
	return took, os.Remove(target)
}

// makeImage writes an image of size bytes: one of so many parts holds random data,
// in runs of 1 MiB. A sparse one gets a block map beside it.
func makeImage(path string, size, parts int64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(size); err != nil {
		return err
	}
	random, block := rand.NewChaCha8([32]byte{1}), make([]byte, mib)
	for at := int64(0); at+mib <= size; at += parts * mib {
		if _, err := random.Read(block); err != nil {
			return err
		}
		if _, err := f.WriteAt(block, at); err != nil {
			return err
		}
	}
	if parts == 1 {
		return nil
	}
	m, err := bmap.FromSparse(f)
	if err != nil {
		return err
	}
	w, err := os.Create(path + ".bmap")
	if err != nil {
		return err
	}
	return errors.Join(m.Write(w), w.Close())
}
