package shipper

import (
	"path"
	"slices"

	"shiplog/config"
	"shiplog/failedlog"
	"shiplog/internal/batch"
	"shiplog/internal/kafka"
)

// recordOverhead is more than a record takes encoded beside its key, value and headers: six varints
// and a byte of attributes.
const recordOverhead = 36

// maxFiles bounds the cache of what is known of each file.
const maxFiles = 1024

// preparer turns the lines of a block into record batches. It belongs to the source's goroutine.
type preparer struct {
	s   *Source
	cfg *config.Source

	keyPath  string // gjson's form of key.field
	timePath string // gjson's form of timestamp.field
	raw      bool   // nothing needs the line's JSON: it is shipped as it is, unseen
	files    map[*batch.File]*fileView

	// Of the block at work:
	blk    *block
	readAt int64
	open   []*part // by partition: the part that takes the next record
	sticky int32   // the block's own choice for records without a key, -1 before it is made
	parts  []*part
}

// fileView is what the configuration makes of one file.
type fileView struct {
	file        *batch.File
	headers     kafka.Headers
	list        []failedlog.Header // the same headers, for the failure log
	headerBytes int                // an upper bound of their size
	fields      string             // "env":"prod"
	tail        string             // ,"env":"prod"}
	key         []byte             // the path, where it is the key
	partition   int32              // sync without a key: the path's own; -1 else
}

// record is what one line becomes.
type record struct {
	key, value []byte
	time       int64 // ms since 1970
}

// A verdict says what is to be done with a line.
type verdict uint8

const (
	ship verdict = iota
	fail         // to the failure log; async: dropped, and counted
	drop
)

func newPreparer(s *Source) *preparer {
	p := &preparer{s: s, cfg: &s.cfg.Source, files: make(map[*batch.File]*fileView)}
	if p.cfg.Key.Field != "" {
		p.keyPath = fieldPath(p.cfg.Key.Field)
	}
	if p.cfg.Timestamp.Field != "" {
		p.timePath = fieldPath(p.cfg.Timestamp.Field)
	}
	p.raw = p.cfg.OnInvalidJSON == config.ActionPass &&
		p.keyPath == "" && p.timePath == "" && len(p.cfg.Fields) == 0
	return p
}

// block makes the parts of a block, in the order of its lines within each partition. Lines that are
// not to be shipped have their outcome, or are on their way to the failure log, when it returns.
func (p *preparer) block(blk *block) []*part {
	p.begin(blk)
	b := blk.b
	var r record
	for i := range b.Runs {
		run := &b.Runs[i]
		if run.First == run.Last {
			continue
		}
		f := p.file(run.File)
		for line := run.First; line < run.Last; line++ {
			switch p.line(b, line, f, &r) {
			case ship:
				p.add(uint32(line), f, &r)
			case fail:
				p.s.refuseLine(blk, line, f, &r)
			case drop:
				p.s.settle(blk, 1, dropped, reasonInvalidJSON)
			}
		}
	}
	parts := p.parts
	clear(p.open)
	p.blk, p.parts = nil, nil
	return parts
}

func (p *preparer) begin(blk *block) {
	b := blk.b
	p.blk, p.readAt, p.sticky = blk, b.ReadAt.UnixMilli(), -1
	n := max(p.s.topic.Partitions, 1) // 1: unknown yet, and spooled
	if p.cfg.Partition != nil {
		n = max(n, *p.cfg.Partition+1)
	}
	if len(p.open) < int(n) {
		p.open = make([]*part, n)
	}
	if n := len(p.cfg.Fields); n > 0 && len(b.Runs) > 0 {
		// Once, ahead: growing it line by line would leave a trail of outgrown copies.
		extra := len(p.file(b.Runs[0].File).tail) + 1
		b.Scratch = slices.Grow(b.Scratch, len(b.Buf)+len(b.Lines)*extra)
	}
}

// line makes the record of one line: the JSON check, and what the configuration asks beyond it.
func (p *preparer) line(b *batch.Batch, i int, f *fileView, r *record) verdict {
	v := b.Value(i)
	r.key, r.value, r.time = f.key, v, p.readAt
	if p.raw {
		return ship
	}
	if !validJSON(v) {
		return p.invalid(b, v, f, r)
	}
	if p.keyPath == "" && p.timePath == "" && f.fields == "" || !isObject(v) {
		return ship
	}
	if p.keyPath != "" {
		r.key = keyOf(v, p.keyPath)
	}
	if p.timePath != "" {
		if t, ok := timeOf(v, p.timePath, p.cfg.Timestamp.Format); ok {
			r.time = t
		}
	}
	if f.fields != "" {
		start := len(b.Scratch)
		b.Scratch = appendSpliced(b.Scratch, v, f.fields)
		r.value = b.Scratch[start:len(b.Scratch):len(b.Scratch)]
	}
	return ship
}

// invalid applies on_invalid_json. A value stays valid when Scratch outgrows its memory: what was
// made before keeps pointing into the old one, which nobody writes to again.
func (p *preparer) invalid(b *batch.Batch, v []byte, f *fileView, r *record) verdict {
	switch p.cfg.OnInvalidJSON {
	case config.ActionPass:
		return ship
	case config.ActionDrop:
		return drop
	case config.ActionFail:
		return fail
	}
	start := len(b.Scratch)
	b.Scratch = appendWrapped(b.Scratch, v, f.tail)
	r.value = b.Scratch[start:len(b.Scratch):len(b.Scratch)]
	return ship
}

// add puts a record into the part of its partition, and begins another part where the record batch
// would grow beyond max_batch_bytes.
func (p *preparer) add(line uint32, f *fileView, r *record) {
	l := &p.blk.b.Lines[line]
	size := len(r.key) + len(r.value) + f.headerBytes + recordOverhead
	partition, sticky := p.partition(f, r.key)
	part := p.open[partition]
	room := p.blk.stamp.room(part, l, f, len(r.value))
	if part != nil && part.rb.Size()+part.room+size+room > p.cfg.MaxBatchBytes {
		p.open[partition], part = nil, nil
		if sticky { // another record batch, so another turn
			p.sticky = p.s.nextPartition()
			partition = p.sticky
			part = p.open[partition]
		}
		room = p.blk.stamp.room(part, l, f, len(r.value))
		if part != nil && part.rb.Size()+part.room+size+room > p.cfg.MaxBatchBytes {
			part = nil
		}
	}
	if part == nil {
		room = p.blk.stamp.room(nil, l, f, len(r.value))
		part = p.s.newPart(p.blk, partition, sticky)
		p.open[partition] = part
		p.parts = append(p.parts, part)
	}
	part.rb.Add(r.key, r.value, r.time, f.headers)
	part.plain = len(part.lines) == 0 || part.plain && room == 0
	part.lines = append(part.lines, line)
	part.room += room
	part.after = after{f, l.Offset + int64(l.Length), int64(l.Length) - int64(len(r.value))}
}

// partition says where a record goes, and whether another partition would do as well.
func (p *preparer) partition(f *fileView, key []byte) (partition int32, sticky bool) {
	switch {
	case p.cfg.Partition != nil:
		return *p.cfg.Partition, false
	case key != nil && p.s.topic.Partitions > 0:
		return kafka.Partition(key, p.s.topic.Partitions), false
	case f.partition >= 0:
		return f.partition, false
	}
	if p.sticky < 0 {
		p.sticky = p.s.nextPartition()
	}
	return p.sticky, true
}

// file gives what the configuration makes of a file.
func (p *preparer) file(file *batch.File) *fileView {
	f := p.files[file]
	if f == nil {
		if len(p.files) >= maxFiles {
			clear(p.files)
		}
		f = p.newFileView(file)
		p.files[file] = f
	}
	if f.partition < 0 && p.cfg.Mode == config.ModeSync && p.cfg.Partition == nil && p.s.topic.Partitions > 0 {
		f.partition = p.pathPartition(file.Path)
	}
	return f
}

func (p *preparer) newFileView(file *batch.File) *fileView {
	vars := config.Vars{Host: p.s.cfg.Host, FilePath: file.Path, FileName: path.Base(file.Path)}
	f := &fileView{file: file, partition: -1, tail: "}"}
	if len(p.cfg.Fields) > 0 {
		f.fields = string(appendFields(nil, p.cfg.Fields, vars))
		f.tail = "," + f.fields + "}"
	}
	if p.cfg.Key.File {
		f.key = []byte(file.Path)
	}
	headers := make([]kafka.Header, 0, len(p.cfg.Headers))
	for _, h := range p.cfg.Headers {
		value := []byte(h.Expand(vars))
		headers = append(headers, kafka.Header{Key: h.Name, Value: value})
		f.list = append(f.list, failedlog.Header{Key: h.Name, Value: value})
		f.headerBytes += len(h.Name) + len(value) + 10
	}
	f.headers = kafka.NewHeaders(headers)
	return f
}

// pathPartition is the one partition of a path in sync mode. It is chosen once and remembered, so
// that the order of a file's lines outlives a change of the topic.
func (p *preparer) pathPartition(path string) int32 {
	n := max(p.s.topic.Partitions, 1) // 1: unknown yet, and spooled
	if part, ok := p.s.tracker.Partition(path); ok && part >= 0 && part < n {
		return part
	}
	part := kafka.Partition([]byte(path), n)
	p.s.tracker.SetPartition(path, part)
	return part
}
