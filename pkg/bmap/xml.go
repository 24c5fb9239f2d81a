package bmap

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// document is the file as XML.
type document struct {
	XMLName      xml.Name   `xml:"bmap"`
	Version      string     `xml:"version,attr"`
	ImageSize    string     `xml:"ImageSize"`
	BlockSize    string     `xml:"BlockSize"`
	BlocksCount  string     `xml:"BlocksCount"`
	MappedCount  string     `xml:"MappedBlocksCount"`
	ChecksumType string     `xml:"ChecksumType"`
	FileChecksum string     `xml:"BmapFileChecksum"`
	Ranges       []xmlRange `xml:"BlockMap>Range"`
}

type xmlRange struct {
	Checksum string `xml:"chksum,attr"`
	Blocks   string `xml:",chardata"`
}

// noChecksum stands in the file while its own checksum is computed.
func noChecksum() string { return strings.Repeat("0", 2*sha256.Size) }

// Write writes the map as a file of version 2.0. The same map gives the same bytes.
func (m *Map) Write(w io.Writer) error {
	if err := m.validate(); err != nil {
		return fmt.Errorf("write the block map: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<?xml version="1.0" ?>
<!-- The blocks of a disk image that are to be written; bmaptool and mycelium flash use it. -->
<bmap version="2.0">
    <ImageSize> %d </ImageSize>
    <BlockSize> %d </BlockSize>
    <BlocksCount> %d </BlocksCount>
    <MappedBlocksCount> %d </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <!-- of this file, with zeros in place of this checksum -->
    <BmapFileChecksum> %s </BmapFileChecksum>
    <BlockMap>
`, m.ImageSize, m.BlockSize, m.Blocks(), m.MappedBlocks(), noChecksum())
	for _, r := range m.Ranges {
		span := strconv.FormatInt(r.First, 10)
		if r.Last > r.First {
			span += "-" + strconv.FormatInt(r.Last, 10)
		}
		fmt.Fprintf(&b, "        <Range chksum=\"%x\"> %s </Range>\n", r.SHA256, span)
	}
	b.WriteString("    </BlockMap>\n</bmap>\n")
	sum := sha256.Sum256(b.Bytes())
	_, err := w.Write(bytes.Replace(b.Bytes(), []byte(noChecksum()), []byte(hex.EncodeToString(sum[:])), 1))
	return err
}

// Parse reads a map of version 2.0 with SHA-256 and checks its own checksum
// (ErrChecksum).
func Parse(r io.Reader) (*Map, error) {
	m, err := parse(r)
	if err != nil {
		return nil, fmt.Errorf("read the block map: %w", err)
	}
	return m, nil
}

func parse(r io.Reader) (*Map, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFileSize {
		return nil, fmt.Errorf("it is larger than %d bytes", MaxFileSize)
	}
	var d document
	if err := xml.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	if v := strings.TrimSpace(d.Version); v != "2.0" {
		return nil, fmt.Errorf("it is of version %q, want 2.0: make it anew with bmaptool 3 or later", v)
	}
	if t := strings.TrimSpace(d.ChecksumType); t != "sha256" {
		return nil, fmt.Errorf("checksums of type %q, want sha256", t)
	}
	if err := checkFile(data, strings.TrimSpace(d.FileChecksum)); err != nil {
		return nil, err
	}
	return d.toMap()
}

// checkFile compares the file's checksum with the one that it carries.
func checkFile(data []byte, text string) error {
	var want [sha256.Size]byte
	if err := decodeSum(&want, text); err != nil {
		return fmt.Errorf("BmapFileChecksum: %w", err)
	}
	h := sha256.New()
	before, after, _ := bytes.Cut(data, []byte(text))
	h.Write(before)
	h.Write([]byte(noChecksum()))
	h.Write(after)
	if [sha256.Size]byte(h.Sum(nil)) != want {
		return fmt.Errorf("the block map itself: %w", ErrChecksum)
	}
	return nil
}

func decodeSum(to *[sha256.Size]byte, text string) error {
	if len(text) != 2*len(to) {
		return fmt.Errorf("checksum %.70q is no SHA-256", text)
	}
	if _, err := hex.Decode(to[:], []byte(text)); err != nil {
		return fmt.Errorf("checksum %.70q is no SHA-256", text)
	}
	return nil
}

func (d *document) toMap() (*Map, error) {
	m := &Map{Ranges: make([]Range, 0, len(d.Ranges))}
	var count, mapped int64
	for _, f := range []struct {
		name, text string
		to         *int64
	}{
		{"ImageSize", d.ImageSize, &m.ImageSize},
		{"BlockSize", d.BlockSize, &m.BlockSize},
		{"BlocksCount", d.BlocksCount, &count},
		{"MappedBlocksCount", d.MappedCount, &mapped},
	} {
		n, err := number(f.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		*f.to = n
	}
	for _, x := range d.Ranges {
		r, err := x.toRange()
		if err != nil {
			return nil, err
		}
		m.Ranges = append(m.Ranges, r)
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	if m.Blocks() != count || m.MappedBlocks() != mapped {
		return nil, fmt.Errorf("it says %d blocks with %d mapped, and lists %d with %d", count, mapped, m.Blocks(), m.MappedBlocks())
	}
	return m, nil
}

func (x xmlRange) toRange() (r Range, err error) {
	if err := decodeSum(&r.SHA256, strings.TrimSpace(x.Checksum)); err != nil {
		return r, fmt.Errorf("blocks %.40q: %w", x.Blocks, err)
	}
	first, last, more := strings.Cut(x.Blocks, "-")
	if !more {
		last = first
	}
	var lastErr error
	r.First, err = number(first)
	r.Last, lastErr = number(last)
	return r, errors.Join(err, lastErr)
}

// number reads a count that stands between spaces.
func number(text string) (int64, error) {
	text = strings.TrimSpace(text)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%.40q is not a number", text)
	}
	return n, nil
}
