package storage

import (
	"encoding/json"
	"fmt"
	"path"
)

// ReadCleanShutdown returns the broker epoch at the clean stop (-1 if the file doesn't say). Errors: fs.ErrNotExist.
// Damage counts as an unclean stop: the error wraps ErrCorrupt.
func ReadCleanShutdown(fsys FS, logDir string) (brokerEpoch int64, err error) {
	name := path.Join(logDir, CleanShutdownFile)
	data, err := readWhole(fsys, name, 1<<12)
	if err != nil {
		return -1, err
	}
	j := struct {
		Version     *int   `json:"version"`
		BrokerEpoch *int64 `json:"brokerEpoch"`
	}{}
	if err := json.Unmarshal(data, &j); err != nil || j.Version == nil || j.BrokerEpoch == nil {
		return -1, corruptFile(name, "want version and brokerEpoch")
	}
	return *j.BrokerEpoch, nil
}

// WriteCleanShutdown marks a clean stop, durably.
func WriteCleanShutdown(fsys FS, logDir string, brokerEpoch int64) error {
	return replaceFile(fsys, path.Join(logDir, CleanShutdownFile), fmt.Appendf(nil, `{"version":0,"brokerEpoch":%d}`, brokerEpoch))
}

// RemoveCleanShutdown takes the mark away, durably, before the first change to a log. A missing one is no error.
func RemoveCleanShutdown(fsys FS, logDir string) error {
	if err := removeIfThere(fsys, path.Join(logDir, CleanShutdownFile)); err != nil {
		return err
	}
	return fsys.SyncDir(logDir)
}
