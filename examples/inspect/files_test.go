package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/encsession/encsession/sqlstore"
	"github.com/stretchr/testify/require"
)

func TestLookingLeavesNothingBehind(t *testing.T) {
	file := newDatabase(t, stored{"a", `{"n":1}`}) // in WAL mode, as sqlstore makes it
	before := read(t, file)
	_, d := document(t, nil, "-db", file)
	require.Equal(t, 1, d.Totals.Items)
	require.Equal(t, []string{"test.db"}, filesBeside(t, file))
	require.Equal(t, before, read(t, file))
}

func TestLookingBesideAWriter(t *testing.T) {
	file := newDatabase(t, stored{"a", `{"n":1}`})
	_, store := openTestStore(t, file)
	require.NoError(t, store.Session("a").AddItems(t.Context(), []byte(`{"n":2}`)))
	require.Contains(t, filesBeside(t, file), "test.db-wal", "the second item is not in the file itself yet")
	for range 2 {
		_, d := document(t, nil, "-db", file)
		require.Equal(t, 2, d.Totals.Items)
	}
	require.NoError(t, store.Session("a").AddItems(t.Context(), []byte(`{"n":3}`)))
	_, d := document(t, nil, "-db", file)
	require.Equal(t, 3, d.Totals.Items)
}

func TestFileNameWithMeaning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "50%41 of what?mode=rw#.db")
	require.NoError(t, os.WriteFile(file, read(t, newDatabase(t, stored{"a", `{"n":1}`})), 0o600))
	code, d := document(t, nil, "-db", file)
	require.Equal(t, exitFine, code)
	require.Equal(t, 1, d.Totals.Items)
	require.Len(t, filesBeside(t, file), 1)
}

func TestDatabaseWithoutTables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE something_else (n INTEGER)")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	before := read(t, file)
	for _, args := range [][]string{nil, {"-seal-plaintext"}} {
		r := inspect(t, map[string]string{keyVariable: "a key of a test"}, append(args, "-db", file)...)
		require.Equal(t, exitError, r.code)
		require.Contains(t, r.stderr, "no table agent_sessions")
	}
	db, err = sql.Open("sqlite", file)
	require.NoError(t, err)
	defer db.Close()
	var tables int
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM sqlite_master").Scan(&tables))
	require.Equal(t, 1, tables, "none are made")
	require.NotEmpty(t, before)
}

func TestFileThatIsNoDatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notes.txt")
	require.NoError(t, os.WriteFile(file, []byte("This is no database, although it is long enough for one.\n"), 0o600))
	r := inspect(t, nil, "-db", file)
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stderr, "not a database")
}

func TestTableNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "test.db")
	db, store := openTestStore(t, file, sqlstore.WithTables("my_sessions", "my_messages"))
	require.NoError(t, store.Session("a").AddItems(t.Context(), []byte(`{"n":1}`)))
	require.NoError(t, db.Close())
	code, d := document(t, nil, "-db", file, "-sessions", "my_sessions", "-messages", "my_messages")
	require.Equal(t, exitFine, code)
	require.Equal(t, 1, d.Totals.Items)
}
