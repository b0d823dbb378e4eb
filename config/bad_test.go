package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testEnv is the environment of all files in testdata.
var testEnv = map[string]string{
	"EMPTY":     "",
	"TEXT":      "some text",
	"INJECTION": "x\nsources: []",
	"A":         "a",
	"BROKER":    "localhost:9092",
	"NUMBER":    "42",
	"SECRET":    "hunter2",
}

func testLookup(name string) (string, bool) {
	v, ok := testEnv[name]
	return v, ok
}

func TestBadFileGetsItsMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata/bad: %v", err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = parse(file, data, testLookup)
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("got %v, want Errors", err)
			}
			for i, e := range all {
				if e.Line < 1 || e.Column < 1 || e.File != file || e.Msg == "" {
					t.Errorf("no place or no message: %+v", e)
				}
				if i > 0 && all[i-1].Line > e.Line {
					t.Errorf("line %d stands before line %d", all[i-1].Line, e.Line)
				}
			}
			text := strings.ReplaceAll(err.Error(), here, "$PWD")
			if strings.Contains(text, "hunter2") {
				t.Errorf("the message holds the password:\n%s", text)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", text+"\n")
		})
	}
}
