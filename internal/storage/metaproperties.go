package storage

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// MetaProperties is meta.properties: whose this disk is. DirectoryID is zero if the file has none (Kafka before KIP-858).
type MetaProperties struct {
	ClusterID   string
	NodeID      int32
	DirectoryID uuid.UUID
}

const metaMend = "put the file back as it was, or move the directory away and start with an empty one under a new directory id"

// ReadMetaProperties reads a log dir's. Errors: fs.ErrNotExist; wrapping ErrCorrupt, naming the key and what to do.
func ReadMetaProperties(fsys FS, logDir string) (MetaProperties, error) {
	name := path.Join(logDir, MetaPropertiesFile)
	data, err := readWhole(fsys, name, 1<<20)
	if err != nil {
		return MetaProperties{}, err
	}
	m, err := parseMetaProperties(string(data))
	if err != nil {
		return MetaProperties{}, corruptFile(name, "%w; %s", err, metaMend)
	}
	return m, nil
}

func parseMetaProperties(text string) (m MetaProperties, err error) {
	props := map[string]string{}
	for i, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimLeft(line, " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok {
			return m, fmt.Errorf("line %d is not key=value", i+1)
		}
		// Java escapes nothing in these values but '=', ':', '#' and '!', none of which they may hold.
		if strings.ContainsAny(k+v, "\\\x00") {
			return m, fmt.Errorf("line %d: unexpected escape", i+1)
		}
		props[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	idKey := "node.id"
	switch v := props["version"]; v {
	case "1":
	case "0":
		if idKey = "broker.id"; props[idKey] == "" {
			idKey = "node.id"
		}
	case "":
		return m, fmt.Errorf("no version")
	default:
		return m, fmt.Errorf("version=%s, this release reads 1", v)
	}
	if m.ClusterID = props["cluster.id"]; m.ClusterID == "" {
		return m, fmt.Errorf("no cluster.id")
	}
	id, err := strconv.ParseInt(props[idKey], 10, 32)
	if err != nil || id < 0 {
		return m, fmt.Errorf("%s=%q is not a node id", idKey, props[idKey])
	}
	m.NodeID = int32(id)
	if v := props["directory.id"]; v != "" {
		if m.DirectoryID, err = uuid.Parse(v); err != nil {
			return m, fmt.Errorf("directory.id: %w", err)
		}
		if m.DirectoryID.Reserved() {
			return m, fmt.Errorf("directory.id=%s is reserved", v)
		}
	}
	return m, nil
}

// WriteMetaProperties replaces it, durably.
func WriteMetaProperties(fsys FS, logDir string, m MetaProperties) error {
	var b strings.Builder
	b.WriteString("version=1\n")
	fmt.Fprintf(&b, "cluster.id=%s\nnode.id=%d\n", m.ClusterID, m.NodeID)
	if !m.DirectoryID.IsZero() {
		fmt.Fprintf(&b, "directory.id=%s\n", m.DirectoryID)
	}
	if got, err := parseMetaProperties(b.String()); err != nil || got != m {
		return fmt.Errorf("%s: %+v can't be written: %w", MetaPropertiesFile, m, err)
	}
	return replaceFile(fsys, path.Join(logDir, MetaPropertiesFile), []byte(b.String()))
}
