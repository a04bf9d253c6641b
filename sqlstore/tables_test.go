package sqlstore

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// schemaQuery describes everything that CreateTables could make or change.
var schemaQuery = map[Dialect]string{
	SQLite: `SELECT type || ' ' || name || ': ' || COALESCE(sql, '') FROM sqlite_master ORDER BY name`,
	PostgreSQL: `SELECT format('%s.%s: %s %s %s', table_name, column_name, data_type, is_nullable, column_default)
			FROM information_schema.columns WHERE table_name IN ('{plain sessions}', '{plain messages}')
		UNION SELECT indexdef FROM pg_indexes WHERE tablename IN ('{plain sessions}', '{plain messages}')
		UNION SELECT pg_get_constraintdef(oid) FROM pg_constraint
			WHERE conrelid IN (to_regclass('{sessions}'), to_regclass('{messages}')) ORDER BY 1`,
	MySQL: `SELECT CONCAT_WS(' ', table_name, column_name, column_type, collation_name, is_nullable, column_default, extra)
			FROM information_schema.columns WHERE table_name IN ('{plain sessions}', '{plain messages}')
		UNION SELECT CONCAT_WS(' ', table_name, index_name, seq_in_index, column_name)
			FROM information_schema.statistics WHERE table_name IN ('{plain sessions}', '{plain messages}')
		UNION SELECT CONCAT_WS(' ', table_name, referenced_table_name, delete_rule)
			FROM information_schema.referential_constraints WHERE table_name IN ('{plain sessions}', '{plain messages}')
		ORDER BY 1`,
}

func (f *fixture) schema(t *testing.T) []string {
	names := strings.NewReplacer("{plain sessions}", f.sessions, "{plain messages}", f.messages)
	return f.strings(t, names.Replace(schemaQuery[f.dialect]))
}

func TestCreateTablesLeavesTablesAlone(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			f := newFixture(t, b, by)
			f.insertRow(t, "s", `{"n": 1}`)
			before := f.schema(t)
			require.GreaterOrEqual(t, len(before), 3)
			require.NoError(t, f.CreateTables(t.Context()))
			require.NoError(t, f.CreateTables(t.Context()))
			require.Equal(t, before, f.schema(t))
			requireItems(t, f.Session("s"), numbered(1, 1)...)
		}
	})
}

// TestCreateTablesLikePython compares our tables with those of Python. Three
// differences are intended: the IDs have 64 bits, on PostgreSQL the index also
// has the id, and on MySQL the collation is bytewise.
func TestCreateTablesLikePython(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		describe := func(f *fixture) string {
			text := strings.Join(f.schema(t), "\n")
			text = strings.NewReplacer(f.sessions, "sessions", f.messages, "messages", "nopad_bin", "general_ci", "bigint(20)", "int(11)", "bigint", "integer").Replace(text)
			text = strings.ReplaceAll(text, "(session_id, created_at, id)", "(session_id, created_at)")
			return strings.Join(strings.Fields(text), " ")
		}
		want := describe(newFixture(t, b, madeByPython[b.dialect][0]))
		require.Equal(t, want, describe(newFixture(t, b, ours)))
	})
}

// TestCreateTablesCompletes starts with one of the two tables.
func TestCreateTablesCompletes(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		complete := f.schema(t)
		f.exec(t, "DROP TABLE {messages}")
		require.NoError(t, f.CreateTables(t.Context()))
		require.Equal(t, complete, f.schema(t))
	})
}

func TestCreateTablesAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, tablesOf{ddl: []string{}})
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				store, err := New(f.db, b.dialect, WithTables(f.sessions, f.messages))
				if err == nil {
					err = store.CreateTables(t.Context())
				}
				if err == nil {
					err = store.Session("s").AddItems(t.Context(), numbered(1, 1)...)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		items, err := f.Session("s").GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, items, 8)
	})
}

func TestTableNames(t *testing.T) {
	long := strings.Repeat("x", 63)
	db := backends[0].open(t, ":memory:")
	for _, names := range [][2]string{
		{"a", "b"}, {"_", "A1_"}, {"select", "table"}, {long, "Y" + long[1:]}, {"agent_messages", "agent_sessions"},
	} {
		store, err := New(db, SQLite, WithTables(names[0], names[1]))
		require.NoError(t, err, names)
		require.NotNil(t, store)
	}
	for _, name := range []string{
		"", "1a", "a b", "a.b", "a-b", `a"b`, "a`b", "a'b", "a;", "é", "a\x00", "a?", "{messages}", long + "x", " a", "a ",
	} {
		for _, names := range [][2]string{{name, "other"}, {"other", name}} {
			store, err := New(db, SQLite, WithTables(names[0], names[1]))
			require.ErrorContains(t, err, "sqlstore: New: option 0: table name ")
			require.Nil(t, store)
		}
	}
	for _, names := range [][2]string{{"a", "a"}, {"a", "A"}} {
		_, err := New(db, SQLite, WithTables(names[0], names[1]))
		require.ErrorContains(t, err, "both tables have the name")
	}
}

// TestAwkwardTableNames uses names that are keywords, mixed in case, or of the
// greatest length.
func TestAwkwardTableNames(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		dsn := b.dsn(t)
		for _, names := range [][2]string{{"Select", "Table"}, {strings.Repeat("S", 63), strings.Repeat("m", 63)}} {
			db := b.open(t, dsn)
			store, err := New(db, b.dialect, WithTables(names[0], names[1]))
			require.NoError(t, err)
			t.Cleanup(func() {
				for _, statement := range []string{"DROP TABLE IF EXISTS {messages}", "DROP TABLE IF EXISTS {sessions}"} {
					_, err := db.Exec(store.tables.fill(statement))
					require.NoError(t, err)
				}
			})
			require.NoError(t, store.CreateTables(t.Context()))
			s := store.Session("s")
			add(t, s, numbered(1, 3)...)
			require.NoError(t, store.CreateTables(t.Context()))
			require.Equal(t, `{"n": 3}`, string(pop(t, s)))
			require.Equal(t, []string{"s"}, sessionIDs(t, store))
			require.NoError(t, s.ClearSession(t.Context()))
		}
	})
}

// TestSchemas has tables of one name in two schemas. The connection looks into
// neither of them by itself.
func TestSchemas(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, tablesOf{ddl: []string{}})
		schemas := []string{f.sessions + "-a", f.sessions + "_B"}
		if b.dialect == MySQL {
			var found int
			require.NoError(t, f.db.QueryRow("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'encsession-2'").Scan(&found))
			if found == 0 {
				t.Skip("the server has no second database for this user")
			}
			schemas = []string{"encsession-2", "encsession"}
		}
		for i, schema := range schemas {
			if b.dialect == PostgreSQL {
				f.exec(t, "CREATE SCHEMA "+f.database.quote(schema))
				t.Cleanup(func() { f.exec(t, "DROP SCHEMA "+f.database.quote(schema)+" CASCADE") })
			}
			store, err := New(f.db, b.dialect, WithTables(f.sessions, f.messages), WithSchema(schema))
			require.NoError(t, err)
			_, err = store.Session("s").GetItems(t.Context(), 0)
			require.ErrorContains(t, err, "call CreateTables")
			t.Cleanup(func() {
				_, err := f.db.Exec(store.tables.fill("DROP TABLE IF EXISTS {messages}"))
				require.NoError(t, err)
				_, err = f.db.Exec(store.tables.fill("DROP TABLE IF EXISTS {sessions}"))
				require.NoError(t, err)
			})
			require.NoError(t, store.CreateTables(t.Context()))
			require.NoError(t, store.CreateTables(t.Context()))
			require.Empty(t, sessionIDs(t, store))
			s := store.Session("s")
			add(t, s, numbered(10*i, 10*i+4)...)
			require.Equal(t, string(numbered(10*i+4, 10*i+4)[0]), string(pop(t, s)))
			require.Equal(t, 1, rewrite(t, s, 1, func([]Item) ([]Item, bool) { return []Item{nil}, false }))
			requireItems(t, s, numbered(10*i, 10*i+2)...)
			add(t, store.Session("cleared"), numbered(1, 2)...)
			require.NoError(t, store.Session("cleared").ClearSession(t.Context()))
			require.Equal(t, []string{"s"}, sessionIDs(t, store))
		}
	}, PostgreSQL, MySQL)
}

func TestSchemaNames(t *testing.T) {
	db := backends[0].open(t, ":memory:")
	for _, name := range []string{"", "a b", `a"b`, "a`b", "a.b", "ä", "a?", "{messages}", strings.Repeat("x", 64)} {
		_, err := New(db, PostgreSQL, WithSchema(name))
		require.ErrorContains(t, err, "option 0: schema ")
	}
	for _, name := range []string{"a", "my-app", "1", "A_b", strings.Repeat("x", 63)} {
		_, err := New(db, MySQL, WithSchema(name))
		require.NoError(t, err)
	}
	_, err := New(db, SQLite, WithSchema("main"))
	require.EqualError(t, err, "sqlstore: New: option 0: SQLite has no schemas")
	_, err = New(db, MySQL, WithoutWAL())
	require.EqualError(t, err, "sqlstore: New: option 0: MySQL has no journal mode")
}

// TestJournalMode checks that WithoutWAL leaves the mode alone, and that
// without it the mode is WAL.
func TestJournalMode(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, mode := range []string{"delete", "truncate", "wal"} {
			path := filepath.Join(t.TempDir(), "sessions.db")
			db := b.open(t, path)
			var set string
			require.NoError(t, db.QueryRow("PRAGMA journal_mode = "+mode).Scan(&set))
			db.SetMaxOpenConns(1)
			store, err := New(db, SQLite, WithoutWAL())
			require.NoError(t, err)
			require.NoError(t, store.CreateTables(t.Context()))
			add(t, store.Session("s"), numbered(1, 3)...)
			pop(t, store.Session("s"))
			var is string
			require.NoError(t, db.QueryRow("PRAGMA journal_mode").Scan(&is))
			require.Equal(t, mode, is)

			store, err = New(db, SQLite)
			require.NoError(t, err)
			requireItems(t, store.Session("s"), numbered(1, 2)...)
			require.NoError(t, db.QueryRow("PRAGMA journal_mode").Scan(&is))
			require.Equal(t, "wal", is)
		}
	}, SQLite)
}

// TestSynchronous checks the documentation: the default of each driver, and the
// DSN that it recommends.
func TestSynchronous(t *testing.T) {
	for driver, want := range map[string]struct {
		dsn      string
		bare, is int
	}{
		"sqlite":  {"%s", 2, 2},
		"sqlite3": {"%s?_synchronous=FULL", 1, 2},
	} {
		for _, b := range backends {
			if b.driver != driver {
				continue
			}
			path := filepath.Join(t.TempDir(), "sessions.db")
			for dsn, want := range map[string]int{path: want.bare, fmt.Sprintf(want.dsn, path): want.is} {
				db := b.open(t, dsn)
				db.SetMaxOpenConns(1)
				store, err := New(db, SQLite)
				require.NoError(t, err)
				require.NoError(t, store.CreateTables(t.Context()))
				var level int
				require.NoError(t, db.QueryRow("PRAGMA synchronous").Scan(&level))
				require.Equal(t, want, level, dsn)
			}
			require.FileExists(t, path)
		}
	}
}

// TestDatabasesWithoutAFile gives several connections a database in memory, which
// belongs to one. Items would be lost without a word.
func TestDatabasesWithoutAFile(t *testing.T) {
	for _, dsn := range []string{":memory:", ""} {
		db := backends[0].open(t, dsn)
		store, err := New(db, SQLite)
		require.NoError(t, err)
		err = store.CreateTables(t.Context())
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, "SetMaxOpenConns(1)")
		_, err = store.Session("s").GetItems(t.Context(), 0)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

// TestTablesOfAnotherApplication have one of the names, and other columns.
func TestTablesOfAnotherApplication(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, tablesOf{name: "of another application", ddl: []string{"CREATE TABLE {sessions} (name VARCHAR(100))"}})
		for range 2 {
			err := f.CreateTables(t.Context())
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorContains(t, err, "has no column session_id")
		}
	})
}
