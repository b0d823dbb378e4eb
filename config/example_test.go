package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const examplePath = "../config.example.yaml"

func TestExampleLoadsWithoutAWarning(t *testing.T) {
	t.Setenv("KAFKA_PASSWORD", "")
	c, err := Load(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Errorf("warnings: %v", w)
	}
	var modes []string
	for _, s := range c.Sources {
		modes = append(modes, s.Mode)
	}
	slices.Sort(modes)
	if !slices.Equal(modes, []string{ModeAsync, ModeCallback, ModeSync}) {
		t.Errorf("the example shows the modes %v", modes)
	}
}

// keyLines walks a YAML tree and gives the line of each key by its path in Keys.
func keyLines(n *yaml.Node, path string, into map[string]int) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			p := join(path, n.Content[i].Value)
			if into[p] == 0 {
				into[p] = n.Content[i].Line
			}
			keyLines(n.Content[i+1], p, into)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			keyLines(item, path+"[]", into)
		}
	}
}

func TestExampleShowsEveryKeyWithAComment(t *testing.T) {
	data, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	keyLines(doc.Content[0], "", at)
	lines := strings.Split(string(data), "\n")
	for _, k := range Keys() {
		if k.Path == "kafka.sasl.password_file" {
			at[k.Path] = at["sources[].kafka.sasl.password_file"] // beside password it would be an error
		}
		switch line := at[k.Path]; {
		case line == 0:
			t.Errorf("%s is not in the example", k.Path)
		case k.Path != "sources" && !strings.Contains(lines[line-1], " # "):
			t.Errorf("%s has no comment in line %d", k.Path, line)
		}
	}
}

// What the example says about a default must be true.
func TestExampleShowsTheDefaults(t *testing.T) {
	data, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^ *([a-z_]+): (\S+) +#`).FindAllStringSubmatch(string(data), -1)
	for _, k := range valueKeys() {
		if k.Default == "" || strings.Contains(k.Default, " ") && !strings.HasPrefix(k.Default, "0s (") {
			continue
		}
		want := strings.TrimSuffix(strings.Fields(k.Default)[0], ",")
		if !slices.ContainsFunc(shown, func(m []string) bool { return m[1] == base(k.Path) && m[2] == want }) &&
			!slices.Contains([]string{"none", "[]", "{}"}, want) && k.Path != "sources[].key.file" {
			t.Errorf("the example does not show %s: %s", base(k.Path), want)
		}
	}
}
