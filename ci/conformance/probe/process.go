package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

func env(args []string) error {
	if len(args) == 0 {
		for _, pair := range os.Environ() {
			fmt.Println(pair)
		}
	}
	for _, name := range args {
		fmt.Printf("%s=%s\n", name, os.Getenv(name))
	}
	return nil
}

func id([]string) error {
	groups, err := os.Getgroups()
	fmt.Printf("uid=%d gid=%d groups=%v\n", os.Getuid(), os.Getgid(), groups)
	return err
}

func lines(args []string) error {
	n, err := strconv.Atoi(arg(args, 0, "10"))
	if err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		out := os.Stdout
		if i%2 == 0 {
			out = os.Stderr
		}
		fmt.Fprintln(out, "line", i)
	}
	return nil
}

func tick(args []string) error {
	interval, err := time.ParseDuration(arg(args, 0, "1s"))
	if err != nil {
		return err
	}
	for i := 1; ; i++ {
		fmt.Println("tick", i)
		time.Sleep(interval)
	}
}

func sleep(args []string) error {
	d, err := time.ParseDuration(arg(args, 0, "24h"))
	if err != nil {
		return err
	}
	time.Sleep(d)
	return nil
}

func trap(args []string) error {
	d, err := time.ParseDuration(arg(args, 0, "1s"))
	if err != nil {
		return err
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	fmt.Println("waiting")
	<-terminated
	fmt.Println("got SIGTERM")
	time.Sleep(d)
	fmt.Println("bye")
	return nil
}

func deaf([]string) error {
	signal.Ignore(syscall.SIGTERM)
	fmt.Println("deaf")
	return sleep(nil)
}

func exit(args []string) error {
	code, err := strconv.Atoi(arg(args, 0, "0"))
	if err != nil {
		return err
	}
	fmt.Println("exit", code)
	os.Exit(code)
	return nil
}

func alloc(args []string) error {
	mib, err := strconv.Atoi(arg(args, 0, "1"))
	if err != nil {
		return err
	}
	kept := make([][]byte, mib)
	for i := range kept {
		kept[i] = make([]byte, 1<<20)
		for at := 0; at < len(kept[i]); at += 4096 {
			kept[i][at] = 1
		}
	}
	fmt.Println("allocated", mib, "MiB")
	err = sleep(nil)
	runtime.KeepAlive(kept)
	return err
}

func burn(args []string) error {
	threads, err := strconv.Atoi(arg(args, 0, "1"))
	if err != nil {
		return err
	}
	fmt.Println("burning")
	for range threads {
		go func() {
			for n := uint64(0); ; n++ { // a loop without an end, and with something in it
				runtime.KeepAlive(n)
			}
		}()
	}
	return sleep(nil)
}

// threads starts N threads. The run time ends the process when the system
// refuses one.
func threads(args []string) error {
	n, err := strconv.Atoi(arg(args, 0, "1"))
	if err != nil {
		return err
	}
	debug.SetTraceback("none") // thousands of stacks say nothing, and are megabytes of log
	started := make(chan struct{})
	for range n {
		go func() {
			runtime.LockOSThread() // a thread of its own, for good
			started <- struct{}{}
			select {}
		}()
		<-started
	}
	fmt.Println("started", n, "threads")
	return nil
}
