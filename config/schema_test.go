package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// compiled is the schema as an independent validator reads it: one that also checks it against the
// schema of schemas.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("shiplog.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("shiplog.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON gives a YAML text as an editor's validator sees it; false when it is no YAML.
func asJSON(t *testing.T, text []byte) (any, bool) {
	t.Helper()
	var v any
	if yaml.Unmarshal(text, &v) != nil {
		return nil, false
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, false // .nan, or a key that is no text
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return doc, true
}

func TestSchemaTakesEveryKeyAndRefusesAWrongType(t *testing.T) {
	s := compiled(t)
	for _, k := range valueKeys() {
		test := keyTests[k.Path]
		good, _ := configWith(k.Path, test.mode, test.value)
		doc, ok := asJSON(t, []byte(good))
		if err := s.Validate(doc); !ok || err != nil {
			t.Errorf("%s: the schema refuses what Load takes: %v\n%s", k.Path, err, good)
		}
		bad, _ := configWith(k.Path, test.mode, "[[1]]")
		if doc, ok := asJSON(t, []byte(bad)); !ok || s.Validate(doc) == nil {
			t.Errorf("%s: the schema takes a list in a list", k.Path)
		}
		typo, _ := configWith(k.Path+"x", test.mode, test.value)
		if doc, ok := asJSON(t, []byte(typo)); !ok || (s.Validate(doc) == nil && !strings.Contains(k.Path, "fields.")) {
			t.Errorf("%sx: the schema takes an unknown key", k.Path)
		}
	}
}

func TestSchemaTakesVariablesForEveryType(t *testing.T) {
	s := compiled(t)
	for _, k := range valueKeys() {
		if strings.HasPrefix(k.Type, "names and") || k.Path == "sources[].mode" {
			continue // not scalar; and a mode from a variable still needs its rules
		}
		text, _ := configWith(k.Path, keyTests[k.Path].mode, "'${VAR:-x}'")
		doc, _ := asJSON(t, []byte(text))
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v", k.Path, err)
		}
	}
}

// onlyLoad are the mistakes that a schema cannot see: they speak about several values, about files
// or the environment, or about the text of the YAML.
var onlyLoad = map[string]bool{
	"bad_placeholder": true, "bad_brokers_text": true, "duplicate_id": true, "retry_intervals": true,
	"shutdown_quiet": true, "segment_bytes": true, "compression_level_without_levels": true, "compression_level_out_of_range": true,
	"key_file_false": true, "merge_key": true, "multi_line": true, "empty_data_dir": true, "password_missing": true, "password_empty": true,
	"password_file_missing": true, "password_file_empty": true, "password_file_folder": true, "token_with_password": true,
	"token_under_plain": true, "tls_files": true, "two_documents": true, "two_documents_broken": true, "variable_not_set": true, "variable_bad_form": true,
	"variable_bad_value": true, "variable_injects_nothing": true, "tag": true,
}

func TestSchemaRefusesTheBadFiles(t *testing.T) {
	s := compiled(t)
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc, ok := asJSON(t, data)
		if !ok {
			continue
		}
		if refused := s.Validate(doc) != nil; refused == onlyLoad[name] {
			t.Errorf("%s: refused by the schema: %v, listed in onlyLoad: %v", name, refused, onlyLoad[name])
		}
	}
}

func TestSchemaTakesTheExampleAndWhatIsPrinted(t *testing.T) {
	s := compiled(t)
	example, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"example": string(example), "print-config": read(t, string(example)).Redacted(), "minimal": minimal} {
		doc, _ := asJSON(t, []byte(text))
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range Keys() {
		doc, err := json.Marshal(k.Doc)
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(strings.Trim(string(doc), `"`))
		if !bytes.Contains(data, []byte(plain)) {
			t.Errorf("%s: its sentence is not in the schema", k.Path)
		}
	}
}

func TestSchemaIsTheSameEachTime(t *testing.T) {
	a, errA := Schema()
	b, errB := Schema()
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Error("two calls differ")
	}
}
