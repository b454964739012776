package storage_test

import (
	"io"

	"github.com/kraft-dev/kraft-operator/internal/storage"
)

func (r rooted) Open(n string) (storage.File, error)     { return r.FS.Open(r.root + n) }
func (r rooted) OpenRead(n string) (storage.File, error) { return r.FS.OpenRead(r.root + n) }
func (r rooted) Create(n string) (storage.File, error)   { return r.FS.Create(r.root + n) }
func (r rooted) Rename(a, b string) error                { return r.FS.Rename(r.root+a, r.root+b) }
func (r rooted) Remove(n string) error                   { return r.FS.Remove(r.root + n) }
func (r rooted) RemoveAll(n string) error                { return r.FS.RemoveAll(r.root + n) }
func (r rooted) MkdirAll(n string) error                 { return r.FS.MkdirAll(r.root + n) }
func (r rooted) SyncDir(n string) error                  { return r.FS.SyncDir(r.root + n) }
func (r rooted) List(n string) ([]string, error)         { return r.FS.List(r.root + n) }
func (r rooted) Stat(n string) (storage.FileInfo, error) { return r.FS.Stat(r.root + n) }
func (r rooted) SetReadOnly(n string) error              { return r.FS.SetReadOnly(r.root + n) }
func (r rooted) Lock(n string) (io.Closer, error)        { return r.FS.Lock(r.root + n) }
