package main

import (
	"cmp"
	"fmt"
	"os"
)

// writeNew writes a new file that only its owner may read. If the file exists
// already, it returns an error and leaves the file alone.
func writeNew(file, content string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	_, err = f.WriteString(content)
	if err == nil {
		err = f.Sync()
	}
	if err = cmp.Or(err, f.Close()); err != nil {
		_ = os.Remove(file) // it holds a part of a key at most
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}
