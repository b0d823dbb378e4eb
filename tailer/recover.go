package tailer

import "time"

func (t *Tailer) resume(now time.Time) {}
