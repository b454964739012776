// Package storage is Kafka's log on disk: segments and their indexes, producer state, leader epochs, checkpoints and
// KRaft snapshots, in Kafka's own formats, for the metadata quorum and for partitions alike.
//
// It reaches disks only through FS, reads no clock (callers hand in milliseconds) and starts no goroutine.
package storage

import (
	"io"
	"time"
)

// FS is the seam to the disk. Names are slash-separated paths.
//
// What is durable when: bytes of a file after its Sync returned; names (Create, Rename, Remove, MkdirAll) after SyncDir
// of the folder that holds them returned. Errors wrap the fs.Err… of package io/fs.
type FS interface {
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// OpenRead opens an existing file for reading.
	OpenRead(name string) (File, error)
	// Create makes an empty file, or empties one, for reading and writing.
	Create(name string) (File, error)
	// Rename replaces newname if it exists.
	Rename(oldname, newname string) error
	Remove(name string) error
	// RemoveAll removes a folder and all in it; a missing one is no error.
	RemoveAll(name string) error
	MkdirAll(dir string) error
	SyncDir(dir string) error
	// List returns the sorted names in dir.
	List(dir string) ([]string, error)
	Stat(name string) (FileInfo, error)
	// SetReadOnly takes the right to write the file away (Kafka does so with frozen snapshots).
	SetReadOnly(name string) error
	// Lock takes an exclusive lock on the file (made if missing) without waiting; Close gives it back.
	Lock(name string) (io.Closer, error)
}

// File is an open file. ReadAt may be called by many at a time, and while another writes elsewhere in the file.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes the file's bytes and size durable. After an error nothing is known about what was written since the
	// last success, and a later success proves nothing: never try again.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// FileInfo is what Stat tells.
type FileInfo struct {
	Size    int64
	ModTime time.Time
	IsDir   bool
}
