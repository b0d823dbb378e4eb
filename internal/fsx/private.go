package fsx

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// UnsafeError says that another user could change what shiplog keeps at a path, or has put something
// there that is not followed.
type UnsafeError struct {
	Path string
	Why  string // as the sentence that begins with the path goes on
	Mend string // what to do, with the command
}

// Error gives all three.
func (e *UnsafeError) Error() string { return fmt.Sprintf("%s %s: %s", e.Path, e.Why, e.Mend) }

const (
	// othersWrite are the rights of group and others that a folder of ours must not give.
	othersWrite = 0o022
	maxLinks    = 40
)

// checkPrivate wants a folder that only this user and root can write to.
func checkPrivate(path string, fi fs.FileInfo) error {
	switch {
	case fi.Mode()&fs.ModeSymlink != 0:
		return linkWithin(path)
	case !fi.IsDir():
		return &UnsafeError{path, "is no folder", "move it away"}
	case !ours(fi):
		return &UnsafeError{path, fmt.Sprintf("belongs to user %d, and this is user %d", owner(fi), os.Geteuid()),
			fmt.Sprintf("its owner could change what is shipped again or skipped; run shiplog as that user, or give it the folder (chown -R %d %s)", os.Geteuid(), quote(path))}
	case fi.Mode().Perm()&othersWrite != 0:
		return &UnsafeError{path, fmt.Sprintf("can be written to by other users (mode %04o)", unixMode(fi)), mendWritable(path, fi)}
	}
	return nil
}

func linkWithin(path string) error {
	return &UnsafeError{path, "is a symbolic link", "shiplog follows no link within its data_dir; see where it leads, then remove it (rm " + quote(path) + ")"}
}

// mendWritable says how to get a folder that nobody else can write to.
func mendWritable(dir string, fi fs.FileInfo) string {
	mend := fmt.Sprintf("they could change what is shipped again or skipped; take that right away (chmod go-w %s)", quote(dir))
	switch {
	case owner(fi) != os.Geteuid() || isMount(dir, fi):
		mend += fmt.Sprintf(", or where it is the root of a volume, as an emptyDir is, name a folder in it instead (%s), which shiplog makes for itself alone",
			filepath.Join(dir, "data"))
	case fi.Mode()&fs.ModeSetgid != 0:
		mend += "; where fsGroup of a Pod gave that right, set fsGroupChangePolicy: OnRootMismatch"
	}
	return mend
}

// isMount says that a file system begins at the folder.
func isMount(dir string, fi fs.FileInfo) bool {
	up, err := os.Stat(filepath.Join(dir, ".."))
	if err != nil {
		return false
	}
	a, ok := fi.Sys().(*syscall.Stat_t)
	b, ok2 := up.Sys().(*syscall.Stat_t)
	return ok && ok2 && a.Dev != b.Dev
}

// way is the walk from the root to a folder, over symbolic links.
type way struct {
	warnings []string
	seen     map[string]bool
}

// walk looks at each folder on the way to dir, and at each link. Its error may be fs.ErrNotExist.
func walk(dir string) (*way, error) {
	w := &way{seen: map[string]bool{}}
	at, rest := "/", strings.Split(dir, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		if err := w.pass(at); err != nil {
			return w, err
		}
		next := filepath.Join(at, name)
		fi, err := os.Lstat(next)
		if err != nil {
			return w, err
		}
		if fi.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if !ours(fi) {
			return w, &UnsafeError{next, fmt.Sprintf("is a symbolic link of user %d on the way to data_dir", owner(fi)),
				"its owner could lead shiplog elsewhere; name the folder that it leads to"}
		}
		target, err := os.Readlink(next)
		if links++; err == nil && links > maxLinks {
			err = &fs.PathError{Op: "follow", Path: next, Err: syscall.ELOOP}
		}
		if err != nil {
			return w, err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return w, nil
}

// pass looks at a folder on the way. In one with the sticky bit, as /tmp has, others cannot take away what
// is ours.
func (w *way) pass(dir string) error {
	fi, err := os.Stat(dir)
	if err != nil || w.seen[dir] {
		return err
	}
	w.seen[dir] = true
	switch {
	case !ours(fi):
		w.warnings = append(w.warnings, fmt.Sprintf("%s belongs to user %d, who could put another folder in the place of what is in it", dir, owner(fi)))
	case fi.Mode().Perm()&othersWrite != 0 && fi.Mode()&fs.ModeSticky == 0:
		w.warnings = append(w.warnings, fmt.Sprintf(
			"%s can be written to by other users (mode %04o), who could put another folder in the place of what is in it; take that right away (chmod go-w %[3]s) or set the sticky bit (chmod +t %[3]s)",
			dir, unixMode(fi), quote(dir)))
	}
	return nil
}

// owner is the user id that a file belongs to.
func owner(fi fs.FileInfo) int {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// ours says that a file belongs to this user, or to root, from whom nothing is safe anyway.
func ours(fi fs.FileInfo) bool { return owner(fi) == 0 || owner(fi) == os.Geteuid() }

// unixMode is the mode as chmod and ls write it.
func unixMode(fi fs.FileInfo) fs.FileMode {
	mode := fi.Mode().Perm()
	for bit, value := range map[fs.FileMode]fs.FileMode{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if fi.Mode()&bit != 0 {
			mode |= value
		}
	}
	return mode
}

// quote makes a path one word for a shell.
func quote(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:@%") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
