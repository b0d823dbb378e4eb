package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// goFiles gives the content of the Go files of the repository, by path.
func goFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		data, err := os.ReadFile(path)
		files[strings.TrimPrefix(filepath.ToSlash(path), "../../")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Each promise in SECURITY.md names the test that holds it.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	var all strings.Builder
	for path, text := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") {
			all.WriteString(text)
		}
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(read(t, "../../SECURITY.md"), -1)
	if len(names) < 20 {
		t.Errorf("found only %d names", len(names))
	}
	for _, n := range names {
		if !strings.Contains(all.String(), "\nfunc "+n[1]+"(") {
			t.Errorf("there is no %s", n[1])
		}
	}
}

// There is no telemetry: what goes out goes out in internal/kafka.
func TestOnlyTheKafkaClientDials(t *testing.T) {
	dials := regexp.MustCompile(`\bnet\.(Dial|Resolver|Lookup)|\btls\.Dial|\bhttp\.(Get|Head|Post|Client|DefaultClient|Transport|DefaultTransport|NewRequest)|\bsmtp\.|\brpc\.|golang\.org/x/telemetry`)
	looked := 0
	for path, text := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") || regexp.MustCompile(`^(internal/kafka|demo|bench|e2e|examples)/`).MatchString(path) {
			continue
		}
		looked++
		if found := dials.FindString(text); found != "" {
			t.Errorf("%s has %s", path, found)
		}
	}
	if looked < 50 {
		t.Errorf("looked at %d files only", looked)
	}
}
