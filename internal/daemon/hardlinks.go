package daemon

import (
	"os"
	"strings"
)

// protectedHardlinks is where Linux says whether people may link to files that they cannot write to.
const protectedHardlinks = "/proc/sys/fs/protected_hardlinks"

// warnHardlinks says when whoever can write to a log folder can put a hard link to any file into it: nothing
// tells such a link from a log.
func warnHardlinks(path string, warn func(string)) {
	if data, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(data)) == "0" {
		warn("fs.protected_hardlinks is off: whoever can write to a log folder can have other files on its file system shipped; turn it on (sysctl fs.protected_hardlinks=1)")
	}
}
