package members

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/fxamacker/cbor/v2"

	"github.com/digital-mycelium/os/pkg/durable"
)

// The file is a line that names it and the records in CBOR, pairs of byte
// strings. It needs no checksum: records are verified by their signatures.
const fileHeader = "mycelium members v1\n"

const maxFile = MaxMembers * 10 << 10 // bytes

// fileRecord is a Record in the file.
type fileRecord struct {
	_                        struct{} `cbor:",toarray"`
	Credential, Announcement []byte
}

var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		MaxArrayElements: MaxMembers, MaxNestedLevels: 4,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
	}.DecMode()
	if err != nil {
		panic(err) // constant options: cannot fail in a build that passed its tests
	}
	return m
}()

// readFile returns the records in the file path, none when there is no file.
func readFile(path string) ([]Record, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the members: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the members: %w", err)
	}
	records, err := decodeFile(data)
	if err != nil {
		return nil, fmt.Errorf("read the members %s: %w: they are learned anew from other nodes", path, err)
	}
	return records, nil
}

func decodeFile(data []byte) ([]Record, error) {
	body, ok := bytes.CutPrefix(data, []byte(fileHeader))
	if !ok || len(data) > maxFile {
		return nil, fmt.Errorf("%d bytes that are no file of this kind", len(data))
	}
	var in []fileRecord
	if err := decoding.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	out := make([]Record, len(in))
	for i, r := range in {
		out[i] = Record{r.Credential, r.Announcement}
	}
	return out, nil
}

func encodeFile(records []Record) ([]byte, error) {
	out := make([]fileRecord, len(records))
	for i, r := range records {
		out[i] = fileRecord{Credential: r.Credential, Announcement: r.Announcement}
	}
	body, err := cbor.Marshal(out)
	if err != nil {
		return nil, err
	}
	return append([]byte(fileHeader), body...), nil
}

// writeFile replaces path (mode 0600) so that a power cut leaves the old
// contents or the new.
func writeFile(path string, records []Record) error {
	data, err := encodeFile(records)
	if err == nil {
		err = durable.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the members: %w", err)
	}
	return nil
}
