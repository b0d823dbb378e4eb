package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// app writes JSON lines to a file and rotates it, as an application with a rotating logger does.
type app struct {
	name    string
	path    string
	file    *os.File
	written int
	rotated int
}

func newApp(dir, name string) (*app, error) {
	a := &app{name: name, path: filepath.Join(dir, name+".log")}
	return a, a.open()
}

func (a *app) open() error {
	f, err := os.OpenFile(a.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	a.file = f
	return err
}

// write appends so many lines.
func (a *app) write(lines int) error {
	buf := make([]byte, 0, lines*160)
	for range lines {
		a.written++
		buf = fmt.Appendf(buf, `{"time":%q,"level":"info","app":%q,"seq":%d,"message":"order accepted, payment authorised"}`+"\n",
			time.Now().UTC().Format(time.RFC3339Nano), a.name, a.written)
	}
	_, err := a.file.Write(buf)
	return err
}

// rotate renames the file and begins a new one.
func (a *app) rotate() error {
	a.rotated++
	if err := os.Rename(a.path, fmt.Sprintf("%s.%d", a.path, a.rotated)); err != nil {
		return err
	}
	if err := a.file.Close(); err != nil {
		return err
	}
	return a.open()
}
