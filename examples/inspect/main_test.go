package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sqlstore"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"
)

// result is what a run of the program gives.
type result struct {
	code           int
	stdout, stderr string
}

// inspect runs the program with arguments and environment variables, and checks what goes for all that it prints.
func inspect(t *testing.T, environment map[string]string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	lookup := func(name string) (string, bool) {
		value, ok := environment[name]
		return value, ok
	}
	code := run(t.Context(), args, lookup, &stdout, &stderr)
	if !strings.HasPrefix(stdout.String(), "{") { // a document is not for people
		for line := range strings.Lines(stdout.String()) {
			line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), os.TempDir(), "/tmp") // which may be long in a test
			require.LessOrEqual(t, text.StringWidth(line), width, line)
		}
	}
	for line := range strings.Lines(stdout.String() + stderr.String()) {
		line = strings.TrimSuffix(line, "\n")
		for _, r := range line {
			require.True(t, unicode.IsGraphic(r), "%U in %q", r, line)
		}
		for name, value := range environment {
			require.False(t, value != "" && strings.Contains(line, value), "the value of %s in %q", name, line)
		}
	}
	return result{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

// document runs the program with -json, and returns the exit code and the document.
func document(t *testing.T, environment map[string]string, args ...string) (int, Document) {
	t.Helper()
	r := inspect(t, environment, append(args, "-json")...)
	decoder := json.NewDecoder(strings.NewReader(r.stdout))
	decoder.DisallowUnknownFields()
	var d Document
	require.NoError(t, decoder.Decode(&d), r.stderr)
	require.False(t, decoder.More(), "nothing else on standard output")
	return r.code, d
}

// stored is an item and the session that it is stored in, as it is.
type stored struct{ sessionID, item string }

// newDatabase makes a SQLite file that holds these items.
func newDatabase(t *testing.T, items ...stored) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "test.db")
	db, store := openTestStore(t, file)
	for _, s := range items {
		require.NoError(t, store.Session(s.sessionID).AddItems(t.Context(), encsession.Item(s.item)))
	}
	require.NoError(t, db.Close())
	return file
}

func openTestStore(t *testing.T, file string, opts ...sqlstore.Option) (*sql.DB, *sqlstore.Store) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := sqlstore.New(db, sqlstore.SQLite, opts...)
	require.NoError(t, err)
	require.NoError(t, store.CreateTables(t.Context()))
	return db, store
}

// filesBeside returns the names of the files in the folder of a file.
func filesBeside(t *testing.T, file string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// perKey returns how many items each key opens.
func perKey(d Document) (items []int) {
	for _, key := range d.Totals.Keys {
		items = append(items, key.Items)
	}
	return items
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	return content
}

func TestInterruptedOperation(t *testing.T) {
	file := newDatabase(t, stored{"a", `{"n":1}`})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	lookup := func(name string) (string, bool) { return "a key of a test", name == keyVariable }
	require.Equal(t, exitError, run(ctx, []string{"-db", file, "-seal-plaintext"}, lookup, &stdout, &stderr))
	require.Empty(t, stdout.String())
	require.Contains(t, stderr.String(), context.Canceled.Error())
	require.Contains(t, stderr.String(), "Seal plaintext: 0 items sealed under the current key, in 0 sessions.\n"+
		"It stopped there, and can be run again\n")
}
