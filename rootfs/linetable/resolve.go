package linetable

import (
	"bufio"
	"bytes"
	"debug/elf"
	"debug/gosym"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// place is the line below a function in a traceback of a stripped program.
var place = regexp.MustCompile(`^(\s+)\?:0 \+0x([0-9a-f]+)(.*)$`)

// Resolve copies a traceback of a stripped program from trace to w, with the
// source lines that program, the same one unstripped, knows.
func Resolve(w io.Writer, trace io.Reader, program []byte) error {
	table, err := lineTable(program)
	if err != nil {
		return err
	}
	function := ""
	lines := bufio.NewScanner(trace)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := place.FindStringSubmatch(line); m != nil {
			if at := find(table, function, m[2]); at != "" {
				line = m[1] + at + " +0x" + m[2] + m[3]
			}
		}
		function = functionName(line)
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return lines.Err()
}

// lineTable reads a Go program's function table.
func lineTable(program []byte) (*gosym.Table, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	pcln, text := f.Section(".gopclntab"), f.Section(".text")
	if pcln == nil || text == nil {
		return nil, fmt.Errorf("read the program: %w", ErrFormat)
	}
	data, err := pcln.Data()
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	return table, nil
}

// find returns file:line of the call at the given offset (hexadecimal) in a
// function, "" when it is not known. The offset is that of the instruction
// behind the call.
func find(table *gosym.Table, function, offset string) string {
	f := table.LookupFunc(function)
	n, err := strconv.ParseUint(offset, 16, 32)
	if f == nil || err != nil || n == 0 {
		return ""
	}
	file, line, _ := table.PCToLine(f.Entry + n - 1)
	if line <= 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// functionName returns the function that a line of a traceback names: "a.b(...)"
// or "created by a.b in goroutine 1".
func functionName(line string) string {
	if rest, ok := strings.CutPrefix(line, "created by "); ok {
		name, _, _ := strings.Cut(rest, " in goroutine")
		return name
	}
	if i := strings.LastIndexByte(line, '('); i > 0 && strings.HasSuffix(line, ")") {
		return line[:i]
	}
	return ""
}
