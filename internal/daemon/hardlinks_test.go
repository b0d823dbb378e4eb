package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHardLinksThatAnybodyCanMakeAreWarnedAbout(t *testing.T) {
	for content, want := range map[string]bool{"0\n": true, "1\n": false, "": false} {
		path := filepath.Join(t.TempDir(), "protected_hardlinks")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		said := ""
		warnHardlinks(path, func(s string) { said += s })
		if got := strings.Contains(said, "sysctl fs.protected_hardlinks=1"); got != want {
			t.Errorf("%q: said %q", content, said)
		}
	}
	warnHardlinks(filepath.Join(t.TempDir(), "none"), func(s string) { t.Errorf("where there is no such thing: %s", s) })
}
