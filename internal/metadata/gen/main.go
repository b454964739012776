// Command gen writes internal/metadata/records_gen.go from the layouts of Kafka's metadata records.
// Its twin, TestGeneratedRecordsAreCurrent, fails when the file in the tree isn't what gen would write.
package main

import (
	"fmt"
	"os"

	"github.com/kraft-dev/kraft-operator/internal/metadata/gen/layout"
)

func main() {
	if err := run("records_gen.go"); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	recs, err := layout.Parse(layout.Text)
	if err != nil {
		return fmt.Errorf("metadata-records.txt: %w", err)
	}
	src, err := layout.Generate(recs)
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	return os.WriteFile(path, src, 0o644)
}
