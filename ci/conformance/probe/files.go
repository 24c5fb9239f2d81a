package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

func cat(args []string) error {
	for _, name := range args {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func write(args []string) error {
	return os.WriteFile(arg(args, 0, ""), []byte(arg(args, 1, "")), 0o644)
}

func appendLine(args []string) error {
	f, err := os.OpenFile(arg(args, 0, ""), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, arg(args, 1, ""))
	return errors.Join(err, f.Close())
}

func exists(args []string) error {
	_, err := os.Stat(arg(args, 0, ""))
	return err
}

func stat(args []string) error {
	for _, name := range args {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		sys := info.Sys().(*syscall.Stat_t)
		fmt.Printf("%s %v %d:%d %d\n", name, info.Mode(), sys.Uid, sys.Gid, info.Size())
	}
	return nil
}

func once(args []string) error {
	name := arg(args, 0, "")
	_, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			return err
		}
		return errors.New("the first time fails")
	}
	return err
}

func remove(args []string) error {
	for _, name := range args {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// fill writes MIB mebibytes, or, with 0, until the disk is full.
func fill(args []string) error {
	mib, err := strconv.Atoi(arg(args, 1, "1"))
	if err != nil {
		return err
	}
	f, err := os.Create(arg(args, 0, ""))
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * 31)
	}
	written := 0
	for mib == 0 || written < mib {
		_, err := f.Write(block)
		if errors.Is(err, syscall.ENOSPC) && mib == 0 {
			fmt.Println("the disk is full")
			break
		}
		if err != nil {
			return fmt.Errorf("after %d MiB: %w", written, err)
		}
		written++
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	fmt.Println("filled", written, "MiB")
	return sleep([]string{"24h"})
}
