package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"shiplog/internal/batch"
)

// formatVersion changes when an older shiplog would misread what a newer one wrote. Keys that may
// be ignored can be added without a change.
const formatVersion = 1

// content is what the checkpoint of one source holds.
type content struct {
	Saved      time.Time
	States     []batch.State
	Partitions map[string]int32 // by path
}

// diskHeader, diskFile and diskPin are the form on disk. Hashes are hexadecimal text because jq and
// other tools round large numbers.
type diskHeader struct {
	Version int        `json:"version"`
	Source  string     `json:"source"`
	Saved   time.Time  `json:"saved"`
	Files   []diskFile `json:"files"`
	Pins    []diskPin  `json:"partitions"`
}

type diskFile struct {
	diskPath
	ID       batch.FileID `json:"id"`
	Offset   int64        `json:"offset"`
	Head     string       `json:"head"`
	HeadLen  int          `json:"head_len"`
	Tail     string       `json:"tail"`
	TailLen  int          `json:"tail_len"`
	Finished bool         `json:"finished,omitempty"`
	Seen     time.Time    `json:"seen"`
}

type diskPin struct {
	diskPath
	Partition int32 `json:"partition"`
}

// diskPath is a path, which may be any bytes, in JSON, which may not.
type diskPath struct {
	Path string `json:"path"` // to be read by people when Raw is there
	Raw  []byte `json:"path_base64,omitempty"`
}

func newDiskPath(path string) diskPath {
	if utf8.ValidString(path) {
		return diskPath{Path: path}
	}
	return diskPath{Path: strings.ToValidUTF8(path, "\uFFFD"), Raw: []byte(path)}
}

func (p diskPath) String() string {
	if len(p.Raw) > 0 {
		return string(p.Raw)
	}
	return p.Path
}

// encode writes the form on disk: JSON with one line a file, so that it can be read and compared.
func encode(source string, c content) ([]byte, error) {
	var b bytes.Buffer
	name, err := json.Marshal(source)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "{\"version\":%d,\"source\":%s,\"saved\":%q,\n\"files\":[",
		formatVersion, name, c.Saved.UTC().Format(time.RFC3339Nano))
	for i := range c.States {
		if err := encodeLine(&b, i, toDisk(&c.States[i])); err != nil {
			return nil, err
		}
	}
	b.WriteString("],\n\"partitions\":[")
	for i, path := range slices.Sorted(maps.Keys(c.Partitions)) {
		if err := encodeLine(&b, i, diskPin{newDiskPath(path), c.Partitions[path]}); err != nil {
			return nil, err
		}
	}
	b.WriteString("]}\n")
	return b.Bytes(), nil
}

// encodeLine writes element i of a list on a line of its own.
func encodeLine(b *bytes.Buffer, i int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if i > 0 {
		b.WriteByte(',')
	}
	b.WriteByte('\n')
	b.Write(data)
	return nil
}

// errVersion says that another version of shiplog wrote the file.
var errVersion = errors.New("written in an unknown version of the format")

// parse reads what encode wrote, and checks it: nothing that it returns can make a reader go wrong
// in silence.
func parse(data []byte) (content, error) {
	var h diskHeader
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&h); err != nil {
		return content{}, fmt.Errorf("no JSON object of the expected form: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return content{}, fmt.Errorf("something follows the JSON object at byte %d", dec.InputOffset())
	}
	if h.Version != formatVersion {
		return content{}, fmt.Errorf("%w: %d, want %d", errVersion, h.Version, formatVersion)
	}
	c := content{Saved: h.Saved, Partitions: map[string]int32{}}
	seen := map[batch.FileID]bool{}
	for i := range h.Files {
		s, err := fromDisk(&h.Files[i])
		if err != nil {
			return content{}, fmt.Errorf("file %d (%s): %w", i, h.Files[i].Path, err)
		}
		if seen[s.ID] {
			return content{}, fmt.Errorf("file %d (%s): id %v stands there twice", i, s.Path, s.ID)
		}
		seen[s.ID] = true
		c.States = append(c.States, s)
	}
	for i, p := range h.Pins {
		path := p.String()
		if _, twice := c.Partitions[path]; twice || path == "" || p.Partition < 0 {
			return content{}, fmt.Errorf("partition %d (%q: %d) is not valid", i, path, p.Partition)
		}
		c.Partitions[path] = p.Partition
	}
	return c, nil
}

func toDisk(s *batch.State) diskFile {
	return diskFile{
		diskPath: newDiskPath(s.Path), ID: s.ID, Offset: s.Pos.Offset,
		Head: fmt.Sprintf("%016x", s.Pos.Head), HeadLen: s.Pos.HeadLen,
		Tail: fmt.Sprintf("%016x", s.Pos.Tail), TailLen: s.Pos.TailLen,
		Finished: s.Finished, Seen: s.Seen.UTC(),
	}
}

func fromDisk(d *diskFile) (batch.State, error) {
	s := batch.State{ID: d.ID, Path: d.String(), Finished: d.Finished, Seen: d.Seen}
	s.Pos = batch.Pos{Offset: d.Offset, HeadLen: d.HeadLen, TailLen: d.TailLen}
	var errs [2]error
	s.Pos.Head, errs[0] = strconv.ParseUint(d.Head, 16, 64)
	s.Pos.Tail, errs[1] = strconv.ParseUint(d.Tail, 16, 64)
	switch err := errors.Join(errs[:]...); {
	case err != nil:
		return s, err
	case s.Path == "":
		return s, errors.New("no path")
	case d.ID.IsZero():
		return s, errors.New("no id")
	case outOfRange(d.Seen):
		return s, fmt.Errorf("seen is %v", d.Seen)
	case d.Offset < 0:
		return s, fmt.Errorf("negative offset %d", d.Offset)
	case d.HeadLen < 0 || d.HeadLen > batch.FingerprintBytes:
		return s, fmt.Errorf("head_len %d is not within 0 and %d", d.HeadLen, batch.FingerprintBytes)
	case d.TailLen < 0 || int64(d.TailLen) > min(d.Offset, batch.FingerprintBytes):
		return s, fmt.Errorf("tail_len %d is negative, or more than offset %d allows", d.TailLen, d.Offset)
	}
	return s, nil
}

// outOfRange says that JSON has no form for the time in UTC.
func outOfRange(t time.Time) bool {
	year := t.UTC().Year()
	return year < 0 || year > 9999
}
