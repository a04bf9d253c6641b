package main

import (
	"crypto/rand"
	"database/sql"
	"os"
	"strings"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sqlstore"
	"github.com/stretchr/testify/require"
)

func TestServers(t *testing.T) {
	for _, server := range []struct {
		flag, driver, variable string
		dialect                sqlstore.Dialect
	}{
		{"-postgres", "pgx", "ENCSESSION_POSTGRES_DSN", sqlstore.PostgreSQL},
		{"-mysql", "mysql", "ENCSESSION_MYSQL_DSN", sqlstore.MySQL},
	} {
		t.Run(server.driver, func(t *testing.T) {
			dsn := os.Getenv(server.variable)
			if dsn == "" {
				t.Skipf("set %s to the DSN of a server to run this test", server.variable)
			}
			suffix := strings.ToLower(rand.Text()[:10])
			sessions, messages := "inspect_sessions_"+suffix, "inspect_messages_"+suffix
			args := []string{server.flag, dsn, "-sessions", sessions, "-messages", messages}
			r := inspect(t, nil, args...)
			require.Equal(t, exitError, r.code)
			require.Contains(t, r.stderr, "no table "+sessions, "it makes no tables")

			db, err := sql.Open(server.driver, dsn)
			require.NoError(t, err)
			t.Cleanup(func() {
				for _, table := range []string{messages, sessions} {
					_, err := db.Exec("DROP TABLE IF EXISTS " + table)
					require.NoError(t, err)
				}
				require.NoError(t, db.Close())
			})
			store, err := sqlstore.New(db, server.dialect, sqlstore.WithTables(sessions, messages))
			require.NoError(t, err)
			require.NoError(t, store.CreateTables(t.Context()))

			environment := map[string]string{keyVariable: "the current key", readKeysVariable: "the old key"}
			oldKey, err := encsession.ParsePythonKey("the old key")
			require.NoError(t, err)
			item := encsession.Item(`{"role":"user","content":"Hello"}`)
			require.NoError(t, addUnder(t.Context(), store.Session("alice"), &oldKey, []encsession.Item{item}))
			require.NoError(t, addUnder(t.Context(), store.Session("Alice"), nil, []encsession.Item{item, item}))

			code, d := document(t, environment, append(args, "-rekey")...)
			require.Equal(t, exitFine, code)
			require.Equal(t, &Operation{Name: "rekey", Items: 1, Sessions: 1}, d.Operation)
			require.Len(t, d.Sessions, 2)
			require.Equal(t, []int{1, 0}, perKey(d))
			_, d = document(t, environment, append(args, "-seal-plaintext")...)
			require.Equal(t, []int{3, 0}, perKey(d))
			_, d = document(t, environment, append(args, "-show", "Alice")...)
			require.Len(t, *d.Sessions[0].Content, 2)
			require.JSONEq(t, string(item), string((*d.Sessions[0].Content)[0].Item))
		})
	}
}
