package cut

import (
	"bytes"
	"errors"
	"testing"
)

func TestBegins(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 3*gzipStep/10)
	changed := bytes.Clone(long)
	changed[2*gzipStep] = 'x'
	for _, tt := range []struct {
		name        string
		whole, part []byte
		want        bool
	}{
		{"the same", long, long, true},
		{"a beginning", long, long[:gzipStep+7], true},
		{"a beginning of whole steps", long, long[:2*gzipStep], true},
		{"a byte more", long, append(bytes.Clone(long), 'x'), false},
		{"another byte far behind", long, changed, false},
		{"another first byte", long, []byte("x"), false},
		{"nothing", long, nil, false},
		{"of nothing", nil, long, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Begins(bytes.NewReader(tt.whole), bytes.NewReader(tt.part))
			if got != tt.want || err != nil {
				t.Errorf("Begins = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// TestBeginsOfACompressedStream also has streams that end early, which are a beginning of nothing.
func TestBeginsOfACompressedStream(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 3*gzipStep/10)
	packed := pack(t, long[:2*gzipStep])
	got, err := Begins(bytes.NewReader(long), NewGzip(bytes.NewReader(packed), GzipOptions{}))
	if !got || err != nil {
		t.Errorf("Begins = %v, %v, want true", got, err)
	}
	for _, n := range []int{0, 5, len(packed) / 2, len(packed) - 1} {
		got, err = Begins(bytes.NewReader(long), NewGzip(bytes.NewReader(packed[:n]), GzipOptions{}))
		if got || !errors.Is(err, ErrIncomplete) {
			t.Errorf("Begins of the first %d bytes of %d = %v, %v, want ErrIncomplete", n, len(packed), got, err)
		}
	}
	bad := errors.New("disk")
	if got, err = Begins(failingReader{bad}, bytes.NewReader(long)); got || !errors.Is(err, bad) {
		t.Errorf("Begins of a file that cannot be read = %v, %v, want its error", got, err)
	}
}

type failingReader struct{ err error }

func (f failingReader) ReadAt([]byte, int64) (int, error) { return 0, f.err }
