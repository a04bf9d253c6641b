package main

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/keystore"
	"github.com/stretchr/testify/require"
)

// clearWrapper is a key service that anybody can open.
type clearWrapper struct{}

func (clearWrapper) Encrypt(_ context.Context, text []byte) ([]byte, error) {
	for i := range text {
		text[i] ^= 0x55
	}
	return text, nil
}

func (w clearWrapper) Decrypt(ctx context.Context, text []byte) ([]byte, error) {
	return w.Encrypt(ctx, text)
}

// newKeystore makes a keystore in a file. Each of the destroyed tenants was
// destroyed an hour ago.
func newKeystore(t *testing.T, file string, destroyed ...string) *keystore.Store {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	keys, err := keystore.New(db, keystore.SQLite, keystore.NamedWrapper{Name: "test", Wrapper: clearWrapper{}})
	require.NoError(t, err)
	require.NoError(t, keys.CreateTables(t.Context()))
	for _, tenant := range destroyed {
		_, err := keys.Destroy(t.Context(), tenant)
		require.NoError(t, err)
	}
	_, err = db.Exec("UPDATE encsession_keys SET destroyed_at = destroyed_at - 3600 * 1000000")
	require.NoError(t, err)
	return keys
}

func TestDeleteDestroyed(t *testing.T) {
	file, keysFile := newDatabase(t), filepath.Join(t.TempDir(), "keys.db")
	_, store := openTestStore(t, file)
	_, key := newKey(t)
	for _, id := range []string{"acme/1", "acme/2", "acme", "globex/1", "initech/1"} {
		addUnder(t, store.Session(id), &key, encsession.Item(`{"n":1}`), encsession.Item(`{"n":2}`))
	}
	keys := newKeystore(t, keysFile, "acme", "unknown")
	_, err := keys.Create(t.Context(), "globex")
	require.NoError(t, err)
	_, err = keys.Destroy(t.Context(), "initech")
	require.NoError(t, err)

	environment := env{}.on(file)
	keystore := "--keystore=sqlite:" + keysFile
	code, s := summary(t, environment, "delete", "--destroyed", keystore, "--tenant-end=/", "--dry-run")
	require.Equal(t, exitWell, code)
	require.Equal(t, &changed{Items: 6, Sessions: 3}, s.Changed)

	r := call(t, environment, "delete", "--destroyed", keystore, "--yes")
	require.Contains(t, r.stdout, "delete: 2 items removed, in 1 of 1 session.\n", "without --tenant-end, the ID is the tenant")
	require.Contains(t, r.stderr, "4 sessions belong to tenants that the keystore does not know: are --keystore and --tenant-end right?\n")
	require.Equal(t, exitFindings, r.code)
	r = call(t, environment, "delete", "--destroyed", keystore, "--tenant-end=/", "--yes")
	require.Equal(t, exitWell, r.code)
	require.Contains(t, r.stderr, "delete: will remove all items of 2 tenants whose keys were destroyed (keystore sqlite:"+keysFile+
		", a tenant is the session ID before \"/\"), in all sessions of sqlite:")
	require.Contains(t, r.stderr, "1 tenant was destroyed so recently that a process may still have the keys: run it again later for them.\n")
	require.Contains(t, r.stdout, "delete: 4 items removed, in 2 of 2 sessions.\n")
	_, s = summary(t, environment, "sessions")
	require.Equal(t, 2, s.Sessions)
	items, err := store.Session("initech/1").GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, items, 2)

	for want, arguments := range map[string][]string{
		"no keystore is given": {"delete", "--destroyed"},
		"--keystore: want a URL that begins with sqlite:, postgres:// or mysql://": {"delete", "--destroyed", "--keystore", "redis://host"},
		"--keystore holds a password, or cannot be read":                           {"delete", "--destroyed", "--keystore", "postgres://u:secret@host/db"},
		"--destroyed goes over all sessions: give neither a session nor --match":   {"delete", "acme", "--destroyed", keystore},
		"--keystore and --tenant-end go with --destroyed":                          {"delete", "acme", keystore},
		"no such table: encsession_keys":                                           {"delete", "--destroyed", "--keystore", "sqlite:" + file},
	} {
		r := call(t, environment, append(arguments, "--yes")...)
		require.Equal(t, exitError, r.code)
		require.Contains(t, r.stderr, want)
		require.NotContains(t, r.stderr, "secret")
	}
}
