//go:build !linux

package e2e

import "syscall"

// dieWithParent can do nothing here: a node outlives tests that are killed.
func dieWithParent() *syscall.SysProcAttr { return nil }
