package ncruces

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sessiontest"
	"github.com/encsession/encsession/sqlstore"
)

// open returns a store with connections of its own, and makes the tables that
// are missing.
func open(t *testing.T, dsn string) *sqlstore.Store {
	db, err := sql.Open("sqlite3", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := sqlstore.New(db, sqlstore.SQLite)
	require.NoError(t, err)
	require.NoError(t, store.CreateTables(t.Context()))
	return store
}

// TestSuite runs the conformance suite over the store, and over an
// EncryptedSession over it.
func TestSuite(t *testing.T) {
	t.Parallel()
	dsn := "file:" + filepath.Join(t.TempDir(), "conversations.db")
	store := open(t, dsn)
	key, err := encsession.ParseKey(encsession.GenerateKey())
	require.NoError(t, err)

	t.Run("store", func(sub *testing.T) {
		sessiontest.Run(sub, func(_ *testing.T, sessionID string) encsession.Session {
			return store.Session(sessionID)
		}, sessiontest.WithSessions(store.Sessions), sessiontest.WithReopen(func(*testing.T) { store = open(t, dsn) }))
	})
	t.Run("encrypted", func(t *testing.T) {
		sessiontest.RunEncrypted(t, func(t *testing.T, sessionID string) (decorator, inner encsession.Session) {
			encrypted, err := encsession.New(store.Session(sessionID), key)
			require.NoError(t, err)
			return encrypted, store.Session(sessionID)
		})
	})
}

// TestAnotherClientIsWaitedFor checks that sqlstore understands the error codes
// of this driver, whose method Code returns a type of its own.
func TestAnotherClientIsWaitedFor(t *testing.T) {
	t.Parallel()
	dsn := "file:" + filepath.Join(t.TempDir(), "conversations.db") + "?_pragma=busy_timeout(1)"
	const clients, items = 4, 25
	done := make(chan error, clients)
	for range clients {
		store := open(t, dsn)
		go func() {
			for range items {
				if err := store.Session("s").AddItems(t.Context(), encsession.Item(`{"n":1}`)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range clients {
		require.NoError(t, <-done)
	}
}
