package cut

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"shiplog/internal/batch"
)

// pack compresses members into one file, with the standard library: not the one that reads them.
func pack(t testing.TB, members ...[]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	for _, m := range members {
		w := gzip.NewWriter(&buf)
		if _, err := w.Write(m); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}

// logText gives log-like lines that do not compress to nothing.
func logText(lines int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&b, "{\"n\":%d,\"id\":\"%016x\",\"message\":\"%s\"}\n", i, r.Uint64(), strings.Repeat("x", r.IntN(300)))
	}
	return b.Bytes()
}

func TestGzipIsCutLikeTheFileItWas(t *testing.T) {
	data := logText(2000)
	data = append(data, bytes.Repeat([]byte("y"), 30_000)...)
	data = append(data, "\nend\n"...)
	half := len(data) / 3
	opt := Options{MaxLineBytes: 20_000}
	want := reference(data, opt, true)
	for _, size := range []int{1000, 64 << 10, 1 << 20} {
		for _, window := range []int{0, opt.BlockBytes() + 64<<10, 1024} {
			if window == 1024 && size == 1000 {
				continue // each block goes back to the beginning: right, but slow
			}
			g := NewGzip(bytes.NewReader(pack(t, data[:half], nil, data[half:])), GzipOptions{Window: window, MaxRatio: 200})
			got := drain(t, New(opt, testFile, batch.Pos{}), g, size, true)
			g.Close()
			if d := diff(want, got); d != "" {
				t.Fatalf("blocks of %d, window %d (-want +got):\n%s", size, window, d)
			}
		}
	}
}

func TestReadsInAnyOrderGiveTheRightBytes(t *testing.T) {
	data := logText(500)
	packed := pack(t, data)
	rapid.Check(t, func(t *rapid.T) {
		g := NewGzip(bytes.NewReader(packed), GzipOptions{Window: rapid.IntRange(1, 9000).Draw(t, "window")})
		want := bytes.NewReader(data)
		for range 10 {
			off := rapid.IntRange(0, len(data)+10).Draw(t, "off")
			p := make([]byte, rapid.IntRange(0, 5000).Draw(t, "len"))
			q := make([]byte, len(p))
			n, err := g.ReadAt(p, int64(off))
			m, wantErr := want.ReadAt(q, int64(off))
			if len(p) == 0 {
				continue // what an empty read at the end says is nobody's business
			}
			if n != m || err != wantErr || !bytes.Equal(p, q) {
				t.Fatalf("at %d of %d: %d bytes, %v, want %d, %v", off, len(data), n, err, m, wantErr)
			}
		}
	})
}

// counting counts the bytes that were read.
type counting struct {
	r io.ReaderAt
	n int
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n += n
	return n, err
}

func TestGzipIsSkippedInSteps(t *testing.T) {
	data := logText(3000)
	packed := &counting{r: bytes.NewReader(pack(t, data))}
	g := NewGzip(packed, GzipOptions{Window: 100_000})
	off := int64(len(data)) * 3 / 4
	off += int64(bytes.IndexByte(data[off:], '\n')) + 1
	steps := 0
	for {
		before := g.out
		there, err := g.Skip(off, 100_000)
		if err != nil {
			t.Fatal(err)
		}
		if steps++; g.out-before > 100_000+gzipStep {
			t.Fatalf("one step went %d bytes", g.out-before)
		}
		if there {
			break
		}
	}
	if steps < 3 {
		t.Errorf("%d steps for %d bytes", steps, off)
	}
	at, err := PosAt(bytes.NewReader(data), off)
	if err != nil {
		t.Fatal(err)
	}
	read := packed.n
	c := New(Options{MaxLineBytes: 1000}, testFile, at)
	if err := c.Verify(g); err != nil {
		t.Fatal(err)
	}
	if packed.n != read {
		t.Errorf("a look at the head, and at the bytes before the offset, read the file again")
	}
	got := drain(t, c, g, 4096, true)
	if want := strings.Split(strings.TrimSuffix(string(data[off:]), "\n"), "\n"); strings.Join(got.Values, "\n") != strings.Join(want, "\n") {
		t.Error("the rest differs")
	}
	if there, err := g.Skip(int64(len(data))+1, 1<<30); there || err != io.EOF {
		t.Errorf("beyond the end: %v, %v", there, err)
	}
}

func TestADamagedFileIsIncomplete(t *testing.T) {
	data := logText(1000)
	packed := pack(t, data)
	flipped := bytes.Clone(packed)
	flipped[len(flipped)/2] ^= 0xff
	badSum := bytes.Clone(packed)
	badSum[len(badSum)-6] ^= 1
	tests := []struct {
		name   string
		packed []byte
	}{
		{"empty", nil},
		{"half a header", packed[:5]},
		{"only a header", packed[:10]},
		{"half", packed[:len(packed)/2]},
		{"without its checksum", packed[:len(packed)-8]},
		{"one byte short", packed[:len(packed)-1]},
		{"a byte changed", flipped},
		{"another checksum", badSum},
		{"no gzip at all", data},
		{"half a second member", append(bytes.Clone(packed), packed[:100]...)},
	}
	for _, tt := range tests {
		g := NewGzip(bytes.NewReader(tt.packed), GzipOptions{})
		c := New(Options{MaxLineBytes: 1000}, testFile, batch.Pos{})
		var err error
		for err == nil {
			var res Result
			if res, err = c.Fill(g, newBatch(1<<16), 1<<16, true); res.AtEOF {
				t.Fatalf("%s: taken for complete at %d", tt.name, c.Offset())
			}
		}
		if !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if at := c.Offset(); tt.name == "half" && (at == 0 || data[at-1] != '\n') {
			t.Errorf("half: stopped at %d", at)
		}
	}
}

func TestAnErrorOfTheDiskIsNotADamagedFile(t *testing.T) {
	broken := errors.New("input/output error")
	packed := pack(t, logText(1000))
	for _, n := range []int{0, 3, len(packed) / 2} {
		g := NewGzip(failing{packed[:n], broken}, GzipOptions{})
		if _, err := io.Copy(io.Discard, io.NewSectionReader(g, 0, 1<<30)); !errors.Is(err, broken) || errors.Is(err, ErrIncomplete) {
			t.Errorf("after %d bytes: got %v", n, err)
		}
	}
}

func TestExpansionIsCapped(t *testing.T) {
	bomb := pack(t, make([]byte, 20<<20)) // 1,000 bytes come out of each
	for name, opt := range map[string]GzipOptions{"ratio": {MaxRatio: 100}, "bytes": {MaxBytes: 3 << 20}} {
		g := NewGzip(bytes.NewReader(bomb), opt)
		n, err := io.Copy(io.Discard, io.NewSectionReader(g, 0, 1<<30))
		if !errors.Is(err, ErrExpansion) || n > 4<<20 {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
	small := pack(t, bytes.Repeat([]byte("same line\n"), 50_000))
	if n, err := io.Copy(io.Discard, io.NewSectionReader(NewGzip(bytes.NewReader(small), GzipOptions{MaxRatio: 10}), 0, 1<<30)); err != nil {
		t.Errorf("half a megabyte of equal lines: %d bytes, %v", n, err)
	}
}

func TestMatches(t *testing.T) {
	data := logText(100)
	off := int64(bytes.LastIndexByte(data[:len(data)-10], '\n')) + 1
	at, err := PosAt(bytes.NewReader(data), off)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(data)
	other[off-1] = 'x'
	for name, tt := range map[string]struct {
		data []byte
		want bool
	}{"same": {data, true}, "longer": {append(bytes.Clone(data), "more\n"...), true}, "just so long": {data[:off], true}, "shorter": {data[:off-1], false}, "other": {other, false}} {
		if got, err := Matches(bytes.NewReader(tt.data), at); got != tt.want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if got, err := Matches(NewGzip(bytes.NewReader(pack(t, tt.data)), GzipOptions{}), at); got != tt.want || err != nil {
			t.Errorf("%s, compressed: %v, %v", name, got, err)
		}
	}
	packed := pack(t, data)
	if got, err := Matches(NewGzip(bytes.NewReader(packed[:len(packed)/2]), GzipOptions{}), at); got || !errors.Is(err, ErrIncomplete) {
		t.Errorf("half a file: %v, %v", got, err)
	}
	for name, bad := range map[string]batch.Pos{
		"negative": {Offset: -1}, "long head": {Offset: 5000, HeadLen: 1 << 40}, "long tail": {Offset: 10, TailLen: 11}, "negative tail": {Offset: 10, TailLen: -1},
	} {
		if got, err := Matches(bytes.NewReader(data), bad); got || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestAFileThatEndsInAMembersHeaderIsIncomplete cuts a second member everywhere: it may still be written.
func TestAFileThatEndsInAMembersHeaderIsIncomplete(t *testing.T) {
	first := pack(t, []byte("one\n"))
	var second bytes.Buffer
	w := gzip.NewWriter(&second)
	w.Name, w.Comment, w.Extra = "app.log", "rotated", []byte("extra")
	_, _ = w.Write([]byte("two\n"))
	_ = w.Close()
	for n := range second.Len() + 1 {
		g := NewGzip(bytes.NewReader(append(bytes.Clone(first), second.Bytes()[:n]...)), GzipOptions{})
		_, err := g.ReadAt(make([]byte, 100), 0)
		if complete := n == 0 || n == second.Len(); complete != (err == io.EOF) || !complete && !errors.Is(err, ErrIncomplete) {
			t.Errorf("%d of %d bytes of the second member: %v", n, second.Len(), err)
		}
	}
}

// gzipSeeds are compressed files as rotators, crashes and attackers leave them.
func gzipSeeds(t testing.TB) [][]byte {
	t.Helper()
	small := pack(t, []byte("{\"a\":1}\n"))
	two := pack(t, logText(3), []byte("x\n"))
	var named bytes.Buffer
	w, _ := gzip.NewWriterLevel(&named, gzip.NoCompression)
	w.Name, w.Comment, w.Extra = "app.log", "rotated", []byte("extra")
	_, _ = w.Write(logText(2))
	_ = w.Close()
	wrongSum, reserved := bytes.Clone(small), bytes.Clone(small)
	wrongSum[len(wrongSum)-5] ^= 1
	reserved[3] = 0xe0
	return [][]byte{
		two, two[:len(two)-1], {}, small, small[:10], small[:11], named.Bytes(), wrongSum, reserved,
		append(bytes.Clone(small), make([]byte, 512)...), append(bytes.Clone(small), "text behind it"...),
		pack(t, nil, logText(8), nil), pack(t, make([]byte, 1<<19)), []byte("{\"not\":\"compressed\"}\n"),
	}
}

// FuzzGzip reads any bytes as a compressed file, there and back again: what comes out is what the standard
// library gives, a complete file is complete for both, and nothing beyond the bounds comes out.
func FuzzGzip(f *testing.F) {
	for i, seed := range gzipSeeds(f) {
		f.Add(seed, uint16(i*50), uint16(100), uint16(i), uint16(1))
	}
	f.Fuzz(func(t *testing.T, packed []byte, off, n, back, m uint16) {
		const most = 1 << 20
		g := NewGzip(bytes.NewReader(packed), GzipOptions{Window: 1024, MaxBytes: most, MaxRatio: 2000})
		defer g.Close()
		var want []byte
		std, stdErr := gzip.NewReader(bytes.NewReader(packed))
		if stdErr == nil {
			want, stdErr = io.ReadAll(io.LimitReader(std, 2*most))
		}
		good := stdErr == nil && len(want) < most
		read := func(off int64, n uint16) {
			p := make([]byte, n)
			got, err := g.ReadAt(p, off)
			switch {
			case (err == nil) != (got == len(p)):
				t.Fatalf("%d of %d bytes with %v", got, len(p), err)
			case err == io.EOF && stdErr != nil:
				t.Fatalf("complete, but the standard library says %v", stdErr)
			case good && err != nil && err != io.EOF && !strings.Contains(err.Error(), "invalid header"):
				t.Fatalf("a good file: %v", err) // reserved flags in a header are refused by one of the two
			case g.out > most+gzipStep:
				t.Fatalf("%d bytes came out", g.out)
			}
			rest := want[min(off, int64(len(want))):]
			same := min(got, len(rest)) // of a damaged file one of the two may give more
			if !bytes.Equal(p[:same], rest[:same]) || good && same < got {
				t.Fatal("other bytes than the standard library's")
			}
		}
		read(int64(off), n)
		read(int64(back), m)
		if there, err := g.Skip(int64(off)+int64(back), 1<<30); there == (err != nil) {
			t.Fatalf("skipped: %v, %v", there, err)
		}
		read(int64(off), n)
	})
}
