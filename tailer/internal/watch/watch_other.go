//go:build !linux

package watch

import "os"

// Watch is one watched descriptor; there are none on this system.
type Watch struct{}

// Available says whether this process can watch files at all; the error says why not.
func Available() error { return ErrUnavailable }

// Arm answers ErrUnavailable: without /proc/self/fd a watch could not follow a renamed file.
func Arm(*os.File, func()) (*Watch, error) { return nil, ErrUnavailable }

// Alive is false after the watch has ended by itself.
func (w *Watch) Alive() bool { return false }

// Stop ends the watch.
func (w *Watch) Stop() bool { return true }
