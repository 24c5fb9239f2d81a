package debian

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// paragraph is one stanza of a control file (deb822): field values by name.
// The lines of a multi-line value are joined by newlines, each without its
// leading space.
type paragraph map[string]string

// maxLine bounds a line of a control file; the longest seen are dependency
// lists of some 100 KiB.
const maxLine = 4 << 20

// readControl calls each for every paragraph of r until it returns an error.
// Comment lines are skipped.
func readControl(r io.Reader, each func(paragraph) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxLine)
	p, last := paragraph{}, ""
	flush := func() error {
		if len(p) == 0 {
			return nil
		}
		err := each(p)
		p, last = paragraph{}, ""
		return err
	}
	for n := 1; s.Scan(); n++ {
		line := s.Text()
		switch {
		case strings.TrimSpace(line) == "":
			if err := flush(); err != nil {
				return err
			}
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if last == "" {
				return fmt.Errorf("line %d continues no field", n)
			}
			p[last] += "\n" + strings.TrimSpace(line)
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok || name == "" {
				return fmt.Errorf("line %d is no field", n)
			}
			last = name
			p[name] = strings.TrimSpace(value)
		}
	}
	if err := s.Err(); err != nil {
		return err
	}
	return flush()
}

// binaryFiles returns the file that a paragraph of a Packages index describes.
func binaryFiles(p paragraph) ([]File, error) {
	size, err := strconv.ParseInt(p["Size"], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("field Size: %w", err)
	}
	f := File{Path: p["Filename"], Size: size, SHA256: p["SHA256"]}
	if err := f.check(); err != nil {
		return nil, err
	}
	return []File{f}, nil
}

// sourceFiles returns the files that a paragraph of a Sources index describes,
// without upstream's detached signatures.
func sourceFiles(p paragraph) ([]File, error) {
	var files []File
	for _, line := range strings.Split(p["Checksums-Sha256"], "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("field Checksums-Sha256: cannot read %q", line)
		}
		if strings.HasSuffix(fields[2], ".asc") {
			continue
		}
		size, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("field Checksums-Sha256: %w", err)
		}
		f := File{Path: p["Directory"] + "/" + fields[2], Size: size, SHA256: fields[0]}
		if err := f.check(); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("source package lists no files")
	}
	return files, nil
}
