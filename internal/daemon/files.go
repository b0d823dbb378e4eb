package daemon

import (
	"math"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// What of the process's descriptors is not for log files: the standard ones, the lock, the runtime's and
// inotify's; and for each source its connections, the failure log, the checkpoint while it is written and a
// folder that is being listed.
const (
	ownDescriptors       = 24
	descriptorsPerSource = 12
)

// maxOpenFiles is how many log files each source may hold open. Files that took all descriptors would leave
// none to save the checkpoint or to reach Kafka with, and the sources would wait for both for good.
func (d *Daemon) maxOpenFiles() int {
	sources := len(d.cfg.Sources)
	most := d.cfg.MaxOpenFiles
	if limit, ok := descriptors(); ok {
		most = min(most, max(sources, limit-ownDescriptors-sources*descriptorsPerSource))
		if most < d.cfg.MaxOpenFiles {
			d.log.Warn("max_open_files is lowered: this process may not open so many (ulimit -n, LimitNOFILE)",
				zap.Int("max_open_files", d.cfg.MaxOpenFiles), zap.Int("lowered_to", most), zap.Int("open_files_limit", limit))
		}
	}
	return max(1, most/sources)
}

// descriptors is how many files this process may have open.
func descriptors() (int, bool) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return int(min(limit.Cur, math.MaxInt32)), true
}
