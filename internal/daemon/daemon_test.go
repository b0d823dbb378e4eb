package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"shiplog/config"
)

func TestACheckpointThatCannotBeSavedAtTheEndIsAnErrorThatSaysWhatFollows(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	text := "data_dir: " + filepath.Join(dir, "data") + "\nkafka: {brokers: [127.0.0.1:1]}\n" +
		"sources: [{id: a, mode: callback, topic: t, include: [" + filepath.Join(dir, "none.log") + "]}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(cfg, Options{Once: true, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(CheckpointDir(cfg)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "sends again what was settled") {
		t.Errorf("Run: %v", err)
	}
}
