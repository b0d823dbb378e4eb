package kafka

import "syscall"

// dieWithParent makes the kernel kill the node when the tests are killed: no broker is left behind.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
