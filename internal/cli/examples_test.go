package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"shiplog/config"
)

// Every configuration that is shipped as an example loads.
func TestShippedExamplesLoad(t *testing.T) {
	t.Setenv("KAFKA_BROKERS", "kafka:9092")
	examples := map[string]string{
		"README.md":                          fenced(t, "../../README.md"),
		"docs/CONFIGURATION.md":              fenced(t, "../../docs/CONFIGURATION.md"),
		"deploy/kubernetes/sidecar.yaml":     configMap(t, "../../deploy/kubernetes/sidecar.yaml"),
		"config.example.yaml (a copy of it)": read(t, "../../config.example.yaml"),
	}
	for name, text := range examples {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(path); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
	}
}

// The commands that the deployment files start are commands that shiplog has.
func TestDeploymentFilesUseOurFlags(t *testing.T) {
	t.Setenv("KAFKA_BROKERS", "kafka:9092")
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(configMap(t, "../../deploy/kubernetes/sidecar.yaml")), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{
		"systemd":    between(t, read(t, "../../deploy/systemd/shiplog.service"), "ExecStart=/usr/bin/shiplog ", "\n"),
		"docker":     list(between(t, read(t, "../../deploy/docker/Dockerfile"), "CMD [", "]")),
		"kubernetes": list(between(t, read(t, "../../deploy/kubernetes/sidecar.yaml"), "args: [", "]")),
	} {
		args := strings.Fields(line)
		if len(args) != 3 || args[2] != "/etc/shiplog/config.yaml" {
			t.Errorf("%s starts shiplog with %q", name, line)
			continue
		}
		args[2] = path
		args = append(args, "--once", "--dry-run")
		var out bytes.Buffer
		if code := Main(args, nil, &out, &out); code != ExitOK {
			t.Errorf("%s: shiplog %s: exit code %d\n%s", name, strings.Join(args, " "), code, out.String())
		}
	}
}

// The root of an emptyDir is everybody's, and refused: data_dir must be a folder in it.
func TestTheSidecarsDataDirIsAFolderInItsVolume(t *testing.T) {
	manifest := read(t, "../../deploy/kubernetes/sidecar.yaml")
	dataDir := between(t, manifest, "data_dir: ", "\n")
	mount := between(t, manifest, "{name: shiplog-data, mountPath: ", "}")
	if !strings.HasPrefix(dataDir, mount+"/") {
		t.Errorf("data_dir is %s, the volume's root is %s", dataDir, mount)
	}
	if strings.Contains(manifest, "fsGroup:") && !strings.Contains(manifest, "fsGroupChangePolicy: OnRootMismatch") {
		t.Error("fsGroup without OnRootMismatch gives the group the right to write to data_dir")
	}
}

// list turns the items of a JSON or YAML list into words.
func list(items string) string {
	return strings.NewReplacer(`"`, "", ",", "").Replace(items)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, from)
	part, _, ended := strings.Cut(rest, to)
	if !found || !ended {
		t.Fatalf("nothing between %q and %q", from, to)
	}
	return part
}

// fenced gives the first YAML block of a document.
func fenced(t *testing.T, path string) string {
	t.Helper()
	return between(t, read(t, path), "```yaml\n", "```")
}

// configMap gives config.yaml of the first ConfigMap among a file's documents.
func configMap(t *testing.T, path string) string {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(read(t, path)))
	for {
		var doc struct {
			Kind string
			Data map[string]string
		}
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			t.Fatalf("%s has no ConfigMap", path)
		}
		if err != nil {
			t.Fatal(err)
		}
		if doc.Kind == "ConfigMap" {
			return doc.Data["config.yaml"]
		}
	}
}
