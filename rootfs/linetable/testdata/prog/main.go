// Prog exercises what needs the function table: stack growth, garbage
// collection with live pointers on deep stacks, panics, recovery, callers.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
)

type list struct {
	next  *list
	value int
}

//go:noinline
func deep(n int, l *list) int {
	var pad [64]byte
	pad[n%64] = byte(n)
	if n == 0 {
		runtime.GC()
		return sum(l)
	}
	return deep(n-1, &list{l, 1}) + int(pad[(n+1)%64])
}

func sum(l *list) (s int) {
	for ; l != nil; l = l.next {
		s += l.value
	}
	return s
}

func recovered() (msg string) {
	defer func() { msg = fmt.Sprint(recover()) }()
	var l *list
	return fmt.Sprint(l.value)
}

func main() {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := deep(5000, nil); got != 5000 {
				panic(got)
			}
		})
	}
	wg.Wait()
	fmt.Println(recovered())
	pc, _, line, ok := runtime.Caller(0)
	fmt.Println(runtime.FuncForPC(pc).Name(), ok)
	if len(os.Args) > 1 {
		fmt.Println("line", line)
		panic("as asked")
	}
}
