package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
)

const mebibyte = 1 << 20

// number reads a count from 0 to max.
func number(s string, max int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > max {
		return 0, fmt.Errorf("%q is not a number from 0 to %d", s, max)
	}
	return n, nil
}

func sleep(ctx context.Context, _ io.Writer, _ []string) error {
	<-ctx.Done()
	return nil
}

// alloc writes to every page, so that the memory is really taken.
func alloc(ctx context.Context, out io.Writer, args []string) error {
	n, err := number(args[0], 1<<20)
	if err != nil {
		return err
	}
	var blocks [][]byte
	for range n {
		block := make([]byte, mebibyte)
		for at := 0; at < len(block); at += 4096 {
			block[at] = 1
		}
		blocks = append(blocks, block)
	}
	fmt.Fprintf(out, "took %d MiB\n", len(blocks))
	<-ctx.Done()
	runtime.KeepAlive(blocks)
	return nil
}

func write(ctx context.Context, out io.Writer, args []string) error {
	n, err := number(args[1], 1<<20)
	if err != nil {
		return err
	}
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	block := make([]byte, mebibyte)
	for i := range block {
		block[i] = byte(i>>12 ^ i) // not zeros, which a file system may leave out
	}
	for range n {
		if err = ctx.Err(); err != nil {
			break
		}
		if _, err = f.Write(block); err != nil {
			break
		}
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "wrote %d MiB\n", n)
	return err
}

func cat(_ context.Context, out io.Writer, args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(out, f)
	return err
}

func env(_ context.Context, out io.Writer, _ []string) error {
	all := os.Environ()
	slices.Sort(all)
	for _, e := range all {
		if _, err := fmt.Fprintln(out, e); err != nil {
			return err
		}
	}
	return nil
}
