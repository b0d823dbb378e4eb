package kafka

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// fetch puts Kafka's jars into the user's cache folder, once for each version, and gives that folder.
func fetch(pom string) (libs string, err error) {
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%w: install Java 17 or later and Maven "+
				"(Debian: apt-get install --no-install-recommends openjdk-17-jre-headless maven)", err)
		}
	}
	if pom, err = filepath.Abs(pom); err != nil {
		return "", err
	}
	text, err := os.ReadFile(pom)
	if err != nil {
		return "", err
	}
	version := regexp.MustCompile(`<kafka\.version>([^<]+)<`).FindSubmatch(text)
	if version == nil {
		return "", fmt.Errorf("%s names no kafka.version", pom)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	libs = filepath.Join(cache, "shiplog-e2e", "kafka-"+string(version[1]))
	if _, err := os.Stat(libs); err == nil {
		return libs, nil
	}
	part := fmt.Sprintf("%s.part-%d", libs, os.Getpid()) // an interrupted download is never taken for a whole one
	defer os.RemoveAll(part)                             //nolint:errcheck // nothing is left there after a success
	cmd := exec.Command("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+part)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch Kafka from Maven Central: %w\n%s", err, out)
	}
	if err := os.Rename(part, libs); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return libs, nil
}
