package batch

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// FingerprintBytes is how many bytes at the head of a file, and before a position, are hashed to
// recognise it.
const FingerprintBytes = 1024

// FileID names one generation of one file: one stream of bytes that only ever grows. It stays the
// same when the file is renamed, copied, compressed, and over restarts. A truncation, or an inode
// number that the file system used again, begins a new generation.
type FileID struct {
	Dev   uint64
	Inode uint64
	Birth int64 // birth time in nanoseconds since 1970, 0 where the file system does not tell
	Gen   uint32
}

// String gives the form used in the failure log and the checkpoint: four hexadecimal numbers.
func (id FileID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x", id.Dev, id.Inode, id.Birth, id.Gen)
}

// IsZero says whether the id names no file.
func (id FileID) IsZero() bool { return id == FileID{} }

// ParseFileID reads what String wrote.
func ParseFileID(s string) (FileID, error) {
	var id FileID
	n, err := fmt.Sscanf(s, "%x-%x-%x-%x", &id.Dev, &id.Inode, &id.Birth, &id.Gen)
	if err != nil || n != 4 || id.String() != s {
		return FileID{}, fmt.Errorf("file id %q: want four hexadecimal numbers joined by '-'", s)
	}
	return id, nil
}

// MarshalText and UnmarshalText let a FileID stand in JSON as String writes it.
func (id FileID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *FileID) UnmarshalText(text []byte) error {
	v, err := ParseFileID(string(text))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// File is what the shipper needs to know of the file that a run came from. It is immutable and
// shared by many runs.
type File struct {
	ID FileID
	// Path is where the live file is, as the include pattern matched it: a rotated file keeps the
	// path under which the application wrote it.
	Path string
}

// Pos is a place between two lines in a file, with the hashes that recognise the file there.
type Pos struct {
	Offset  int64  `json:"offset"`
	Head    uint64 `json:"head"`     // Hash of the file's first HeadLen bytes
	HeadLen int    `json:"head_len"` // 0 to FingerprintBytes; grows with the file
	Tail    uint64 `json:"tail"`     // Hash of the TailLen bytes before Offset
	TailLen int    `json:"tail_len"` // min(Offset, FingerprintBytes)
}

// State is what is remembered of one file generation over a restart.
type State struct {
	ID   FileID `json:"id"`
	Path string `json:"path"`
	Pos  Pos    `json:"pos"`
	// Finished says that the file was rotated or deleted, and everything in it is settled.
	Finished bool `json:"finished,omitempty"`
	// Seen is when the file, or a rotated or compressed form of it, was last there.
	Seen time.Time `json:"seen"`
}

// Hash is the fingerprint hash: the first 8 bytes of SHA-256. It is stable over restarts and
// versions, and nobody who writes a log can make two heads collide.
func Hash(p []byte) uint64 {
	sum := sha256.Sum256(p)
	return binary.BigEndian.Uint64(sum[:8])
}
