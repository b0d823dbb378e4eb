package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse: no text makes the loader panic; each error has a place and a message; and what loads is
// printed as a configuration that loads as the same one.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, examplePath, "testdata/redacted.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(minimal))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		c, err := parse("fuzz.yaml", data, testLookup)
		if err != nil {
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			last := 0
			for _, e := range all {
				if e.Line < max(last, 1) || e.Column < 1 || e.Msg == "" {
					t.Fatalf("no place, no message or out of order: %+v", e)
				}
				last = e.Line
			}
			return
		}
		for i := range c.Sources {
			hide(&c.Sources[i].Kafka)
		}
		hide(&c.Kafka)
		out := c.Redacted()
		again, err := parse("fuzz.yaml", []byte(out), testLookup)
		if err != nil {
			t.Fatalf("%v\nin:\n%s", err, out)
		}
		if diff := cmp.Diff(c, again, plainData); diff != "" {
			t.Fatalf("%s\nin:\n%s", diff, out)
		}
	})
}

// hide makes a password what it is after printing.
func hide(k *Kafka) {
	if !k.SASL.Password.IsZero() && k.SASL.PasswordFile == "" {
		k.SASL.Password = NewSecret(redacted)
	}
}
