package shipper

import (
	"bytes"
	"sync"
	"time"

	"shiplog/failedlog"
	"shiplog/internal/batch"
)

// fakeReader gives prepared blocks on demand.
type fakeReader struct {
	mu      sync.Mutex
	ch      chan *batch.Batch
	queue   []*batch.Batch
	wants   int // asked for and not given yet
	asked   int // in all
	closing bool
	settled map[batch.FileID]int64
}

func newFakeReader(blocks ...*batch.Batch) *fakeReader {
	return &fakeReader{ch: make(chan *batch.Batch, 100), queue: blocks, settled: make(map[batch.FileID]int64)}
}

func (r *fakeReader) Want() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wants++
	r.asked++
	r.serve()
}

func (r *fakeReader) Batches() <-chan *batch.Batch { return r.ch }

func (r *fakeReader) Settled(id batch.FileID, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled[id] = offset
}

// add makes blocks available.
func (r *fakeReader) add(blocks ...*batch.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, blocks...)
	r.serve()
}

// finish closes the channel once every block was given.
func (r *fakeReader) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closing = true
	r.serve()
}

func (r *fakeReader) serve() {
	for r.wants > 0 && len(r.queue) > 0 {
		r.ch <- r.queue[0]
		r.queue = r.queue[1:]
		r.wants--
	}
	if r.closing && len(r.queue) == 0 {
		close(r.ch)
		r.closing = false
	}
}

func (r *fakeReader) demands() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// fakeFile makes blocks out of lines, with offsets that go on from block to block.
type fakeFile struct {
	file   *batch.File
	offset int64
}

func newFakeFile(path string) *fakeFile {
	return &fakeFile{file: &batch.File{ID: batch.FileID{Dev: 1, Inode: batch.Hash([]byte(path))}, Path: path}}
}

// block makes a block of one run.
func (f *fakeFile) block(lines ...string) *batch.Batch {
	b := &batch.Batch{ReadAt: time.UnixMilli(1_700_000_000_000)}
	f.run(b, lines...)
	return b
}

// run appends a run to a block.
func (f *fakeFile) run(b *batch.Batch, lines ...string) *batch.Run {
	r := batch.Run{File: f.file, Start: f.offset, First: len(b.Lines)}
	for _, line := range lines {
		start := len(b.Buf)
		b.Buf = append(b.Buf, line...)
		b.Lines = append(b.Lines, batch.Line{
			Start: uint32(start), End: uint32(len(b.Buf)), Length: uint32(len(line) + 1), Offset: f.offset,
		})
		b.Buf = append(b.Buf, '\n')
		f.offset += int64(len(line)) + 1
	}
	r.Last, r.End = len(b.Lines), batch.Pos{Offset: f.offset}
	b.Runs = append(b.Runs, r)
	return &b.Runs[len(b.Runs)-1]
}

// fakeLog is a failure log in memory.
type fakeLog struct {
	mu   sync.Mutex
	err  error
	recs []failedlog.Record
	asks int
}

func (l *fakeLog) Append(recs []failedlog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks++
	if l.err != nil {
		return l.err
	}
	for _, r := range recs {
		r.Payload = bytes.Clone(r.Payload) // the block is used again
		r.Key = bytes.Clone(r.Key)
		l.recs = append(l.recs, r)
	}
	return nil
}

func (l *fakeLog) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *fakeLog) payloads() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, r := range l.recs {
		out = append(out, string(r.Payload))
	}
	return out
}
