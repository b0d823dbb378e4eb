package daemon

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// heapInUse are the parts of the heap in use, as runtime.MemStats.HeapInuse counts it; read without
// stopping the world.
var heapInUse = []string{"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes"}

// residentSizes are our names for what Linux tells of a process's memory.
var residentSizes = map[string]string{"VmRSS": "rss_bytes", "VmHWM": "rss_peak_bytes"}

// processFields say what this process takes of the machine. What the system does not tell is left out.
func processFields() []zap.Field {
	fields := []zap.Field{zap.Int("goroutines", runtime.NumGoroutine())}
	if n, ok := openFiles(); ok {
		fields = append(fields, zap.Int("open_files", n))
	}
	samples := make([]metrics.Sample, len(heapInUse))
	for i, name := range heapInUse {
		samples[i].Name = name
	}
	metrics.Read(samples)
	var heap uint64
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			heap += s.Value.Uint64()
		}
	}
	fields = append(fields, zap.Uint64("heap_in_use_bytes", heap))
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		fields = append(fields, resident(status)...)
	}
	return fields
}

// openFiles counts the descriptors of this process.
func openFiles() (n int, ok bool) {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		f, err := os.Open(dir)
		if err != nil {
			continue
		}
		names, err := f.Readdirnames(-1)
		_ = f.Close() // it was only read
		if err == nil {
			return len(names) - 1, true // without the one that looks
		}
	}
	return 0, false
}

// resident reads the sizes out of a /proc/<pid>/status, which has them in kB.
func resident(status []byte) (fields []zap.Field) {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		field := residentSizes[name]
		if field == "" {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		if err == nil {
			fields = append(fields, zap.Int64(field, kib<<10))
		}
	}
	return fields
}
