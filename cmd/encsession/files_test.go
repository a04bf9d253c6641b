package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sqlstore"
	"github.com/stretchr/testify/require"
)

func TestLookingLeavesNothingBehind(t *testing.T) {
	file := newDatabase(t, stored{"a", `{"n":1}`}) // in WAL mode, as sqlstore makes it
	before := read(t, file)
	for _, args := range [][]string{
		{"audit"}, {"sessions"}, {"show", "a"}, {"seal", "--dry-run", "--first-use", pythonFingerprint},
		{"purge", "--dry-run", "--idle", "1s"}, {"delete", "a", "--dry-run"}, {"delete", "--dry-run", "--match", write(t, "text", "x")},
	} {
		r := call(t, env{keyVariable: pythonKeys[keyVariable]}.on(file), args...)
		require.Contains(t, []int{exitWell, exitFindings}, r.code, r.stderr)
		require.Equal(t, []string{"test.db"}, filesBeside(t, file), args)
		require.Equal(t, before, read(t, file), args)
	}
}

// pythonFingerprint is the fingerprint of the current key of pythonKeys.
const pythonFingerprint = "ace7e6438602c239"

func TestLookingBesideAWriter(t *testing.T) {
	file := newDatabase(t, stored{"a", `{"n":1}`})
	_, store := openTestStore(t, file)
	require.NoError(t, store.Session("a").AddItems(t.Context(), []byte(`{"n":2}`)))
	require.Contains(t, filesBeside(t, file), "test.db-wal", "the second item is not in the file itself yet")
	for range 2 {
		_, s := summary(t, env(nil).on(file), "audit")
		require.Equal(t, 2, s.Items)
	}
	require.NoError(t, store.Session("a").AddItems(t.Context(), []byte(`{"n":3}`)))
	_, s := summary(t, env(nil).on(file), "audit")
	require.Equal(t, 3, s.Items)
}

func TestFileNameWithMeaning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "50%41 of what?mode=rw#.db")
	require.NoError(t, os.WriteFile(file, read(t, newDatabase(t, stored{"a", `{"n":1}`})), 0o600))
	code, s := summary(t, env(nil).on(file), "audit")
	require.Equal(t, exitFindings, code)
	require.Equal(t, 1, s.Items)
	require.Len(t, filesBeside(t, file), 1)
}

func TestStoreInAFile(t *testing.T) {
	file := newDatabase(t, stored{"a", `{"n":1}`})
	r := call(t, env{storeVariable + fileSuffix: write(t, "store", "sqlite:"+file+"\n")}, "sessions")
	require.Equal(t, exitWell, r.code, r.stderr)
	r = call(t, nil, "sessions", "--store", "sqlite:"+file)
	require.Equal(t, exitWell, r.code, r.stderr)
}

func TestDatabaseWithoutTables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE something_else (n INTEGER)")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for _, args := range [][]string{{"audit"}, {"seal", "--yes"}, {"delete", "a", "--yes"}} {
		r := call(t, env{keyVariable: encsession.GenerateKey()}.on(file), args...)
		require.Equal(t, exitError, r.code)
		require.Contains(t, r.stderr, "no table agent_sessions")
	}
	db, err = sql.Open("sqlite", file)
	require.NoError(t, err)
	defer db.Close()
	var tables int
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM sqlite_master").Scan(&tables))
	require.Equal(t, 1, tables, "none are made")
}

func TestFileThatIsNoDatabase(t *testing.T) {
	file := write(t, "notes.txt", "This is no database, although it is long enough for one.\n")
	r := call(t, env(nil).on(file), "audit")
	require.Equal(t, exitError, r.code)
	require.Contains(t, r.stderr, "not a database")
}

func TestTableNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "test.db")
	db, store := openTestStore(t, file, sqlstore.WithTables("my_sessions", "my_messages"))
	require.NoError(t, store.Session("a").AddItems(t.Context(), []byte(`{"n":1}`)))
	require.NoError(t, db.Close())
	_, s := summary(t, env(nil).on(file), "audit", "--sessions-table", "my_sessions", "--messages-table", "my_messages")
	require.Equal(t, 1, s.Items)
}
