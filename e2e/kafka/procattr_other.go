//go:build !linux

package kafka

import "syscall"

// dieWithParent can do nothing here: a node outlives tests that are killed.
func dieWithParent() *syscall.SysProcAttr { return nil }
