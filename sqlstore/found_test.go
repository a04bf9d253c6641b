package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// These tables were made by others in SQLite, where a column may hold anything.

func sqliteTables(sessionID, data string) tablesOf {
	return tablesOf{name: sessionID + " and " + data, ddl: []string{
		"CREATE TABLE {sessions} (session_id " + sessionID + " PRIMARY KEY, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
		"CREATE TABLE {messages} (id INTEGER PRIMARY KEY, session_id " + sessionID + ", message_data " + data + ", created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
	}}
}

// TestColumnsThatDoNotKeepText has columns that would make the IDs 7 and 007
// one, and the items 1.0 and 1. They are refused.
func TestColumnsThatDoNotKeepText(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, typ := range []string{"STRING", "UUID", "NUMERIC", "DATETIME", "JSON", "INTEGER", "REAL", "CHARINT", "POINT"} {
			for _, by := range []tablesOf{sqliteTables(typ, "TEXT"), sqliteTables("TEXT", typ)} {
				f := newFixture(t, b, by)
				err := f.Session("007").AddItems(t.Context(), numbered(1, 1)...)
				require.ErrorIs(t, err, errors.ErrUnsupported, by.name)
				require.ErrorContains(t, err, typ)
				_, err = f.Session("7").GetItems(t.Context(), 0)
				require.ErrorIs(t, err, errors.ErrUnsupported, by.name)
			}
		}
		for _, typ := range []string{"TEXT", "text", "VARCHAR", "VARCHAR(255)", "NVARCHAR(10)", "CLOB", "BLOB", ""} {
			f := newFixture(t, b, sqliteTables(typ, typ))
			for _, id := range []string{"7", "007", "1e1", "10", "12345678901234567890", "12345678901234567891"} {
				add(t, f.Session(id), Item(`{"id": "`+id+`", "n": 1.0}`))
			}
			requireItems(t, f.Session("007"), Item(`{"id": "007", "n": 1.0}`))
			requireItems(t, f.Session("7"), Item(`{"id": "7", "n": 1.0}`))
		}
	}, SQLite)
}

// TestSessionsThatAreNoText has IDs that no Session can have. Sessions passes
// over them, and comes to an end.
func TestSessionsThatAreNoText(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, sqliteTables("TEXT", "TEXT"))
		f.exec(t, fmt.Sprintf("INSERT INTO {sessions} (session_id) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"+
			" SELECT CAST('s' || i AS BLOB) FROM n", 3*sessionsPerQuery))
		f.exec(t, "INSERT INTO {messages} (session_id, message_data) VALUES (NULL, '{}'), (x'616263', '{}')")
		f.exec(t, "INSERT INTO {messages} (id, session_id, message_data) VALUES (-5000000000, 'below zero', '{}')")
		add(t, f.Session("alice"), numbered(1, 1)...)
		f.exec(t, "INSERT INTO {sessions} (session_id) VALUES (CAST('alice' AS BLOB))")
		require.ElementsMatch(t, []string{"alice", "below zero"}, sessionIDs(t, f.Store))
		requireItems(t, f.Session("below zero"), Item("{}"))
	}, SQLite)
}

// TestLongTableNames has table names that are so long that the names of their
// indexes must be cut. The cut names still differ.
func TestLongTableNames(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		long := strings.Repeat("m", maxIdentifier-2)
		for _, suffix := range []string{"_1", "_2"} {
			sessions, messages := "s"+long[1:]+suffix, long+suffix
			store, err := New(f.db, b.dialect, WithTables(sessions, messages))
			require.NoError(t, err)
			t.Cleanup(func() {
				_, err := f.db.Exec("DROP TABLE " + messages)
				require.NoError(t, err)
				_, err = f.db.Exec("DROP TABLE " + sessions)
				require.NoError(t, err)
			})
			require.NoError(t, store.CreateTables(t.Context()))
			add(t, store.Session("a"), numbered(1, 1)...)
		}
	})
}

// TestAutocommitOff has connections that would keep reading the state that they
// saw first. They are refused.
func TestAutocommitOff(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		separator := "?"
		if strings.Contains(f.dsnText, "?") {
			separator = "&"
		}
		store, err := New(b.open(t, f.dsnText+separator+"autocommit=0"), b.dialect, WithTables(f.sessions, f.messages))
		require.NoError(t, err)
		_, err = store.Session("a").GetItems(t.Context(), 0)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, "autocommit is off")
	}, MySQL)
}

// TestADeadlineThatTheDriverSeesFirst checks that errors.Is still finds the
// deadline of the context.
func TestADeadlineThatTheDriverSeesFirst(t *testing.T) {
	timeout := errors.New("i/o timeout")
	late := lateContext{t.Context()}
	err := withContext(late, timeout)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, timeout)
	require.Equal(t, timeout, withContext(t.Context(), timeout))
	require.NoError(t, withContext(late, nil))
}

// lateContext is a context whose deadline is over, but which does not know it
// yet.
type lateContext struct{ context.Context }

func (lateContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// TestAdvancedSQLiteSession has tables of the user's own that reference
// messages, which are accepted. Then it has the tables of that Python class,
// which are refused.
func TestAdvancedSQLiteSession(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, bySQLiteSession)
		f.exec(t, "CREATE TABLE message_tags (id INTEGER PRIMARY KEY, message_id INTEGER NOT NULL REFERENCES {messages}(id) ON DELETE CASCADE)")
		f.exec(t, "CREATE TABLE message_structure (id INTEGER PRIMARY KEY, message_id INTEGER REFERENCES message_tags(id))")
		add(t, f.Session("s"), numbered(1, 1)...)
		f.exec(t, "DROP TABLE message_structure")
		f.exec(t, `CREATE TABLE message_structure (
			id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, message_id INTEGER NOT NULL,
			branch_id TEXT NOT NULL DEFAULT 'main', message_type TEXT NOT NULL, sequence_number INTEGER NOT NULL,
			FOREIGN KEY (session_id) REFERENCES {sessions}(session_id) ON DELETE CASCADE,
			FOREIGN KEY (message_id) REFERENCES {messages}(id) ON DELETE CASCADE)`)
		store := f.secondHandle(t)
		for name, err := range calls(t.Context(), store, store.Session("s")) {
			require.ErrorIs(t, err, errors.ErrUnsupported, name)
			require.ErrorContains(t, err, "AdvancedSQLiteSession")
		}
		require.Equal(t, 1, f.count(t, "SELECT COUNT(*) FROM {messages}"))
	}, SQLite)
}

// byFormerSQLiteSession has the tables as SQLiteSession made them before 0.6.4.
// Later versions leave the index as it is.
var byFormerSQLiteSession = withCollation(bySQLiteSession, "(session_id, id)", "(session_id, created_at)")

// TestFilesOfFormerSDKs checks that these files are ordered by ID, as every
// version of SQLiteSession has ordered them since.
func TestFilesOfFormerSDKs(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, byFormerSQLiteSession)
		s := f.Session("s")
		add(t, s, numbered(1, 2)...)
		f.exec(t, "UPDATE {messages} SET created_at = '2037-01-01 00:00:00' WHERE id = 1") // as if the clock had been set back
		add(t, s, numbered(3, 3)...)
		requireItems(t, s, numbered(1, 3)...)
		items, _ := passed(t, s, 1)
		require.Equal(t, texts(numbered(1, 3)), texts(items))
		require.Equal(t, []string{`{"n": 3}`}, f.tryPythonPop(t, pythonPop[SQLite]))
		require.Equal(t, `{"n": 2}`, string(pop(t, s)))
	}, SQLite)
}

// TestIDsThatAreNoIntegers has IDs that would hide sessions, and that errors
// would quote. They are refused.
func TestIDsThatAreNoIntegers(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, typ := range map[Dialect][]string{
			SQLite:     {"TEXT PRIMARY KEY", "INT PRIMARY KEY", "INTEGER", "BLOB PRIMARY KEY"},
			PostgreSQL: {"TEXT PRIMARY KEY", "UUID PRIMARY KEY", "NUMERIC PRIMARY KEY"},
			MySQL:      {"VARCHAR(20) PRIMARY KEY", "DECIMAL(20) PRIMARY KEY", "BINARY(16) PRIMARY KEY"},
		}[b.dialect] {
			f := newFixture(t, b, tablesOf{ddl: []string{
				"CREATE TABLE {sessions} (session_id VARCHAR(200) PRIMARY KEY, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
				"CREATE TABLE {messages} (id " + typ + ", session_id VARCHAR(200), message_data TEXT, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
			}})
			for name, err := range calls(t.Context(), f.Store, f.Session("s")) {
				require.ErrorIs(t, err, errors.ErrUnsupported, "%s: %s", typ, name)
				require.ErrorContains(t, err, "column id of table ")
			}
		}
	})
}

// TestPartitions has the messages in partitions by session, as docs/scale.md
// shows.
func TestPartitions(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, tablesOf{ddl: []string{
			`CREATE TABLE {sessions} (
				session_id VARCHAR NOT NULL PRIMARY KEY,
				created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL,
				updated_at TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL
			)`,
			`CREATE TABLE {messages} (
				id BIGSERIAL NOT NULL,
				session_id VARCHAR NOT NULL REFERENCES {sessions} (session_id) ON DELETE CASCADE,
				message_data TEXT NOT NULL,
				created_at TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL,
				PRIMARY KEY (session_id, id)
			) PARTITION BY HASH (session_id)`,
			"CREATE INDEX ON {messages} (session_id, created_at, id)",
			"CREATE INDEX ON {messages} (id)",
		}})
		for n := range 4 {
			f.exec(t, fmt.Sprintf("CREATE TABLE %s_%d PARTITION OF {messages} FOR VALUES WITH (MODULUS 4, REMAINDER %d)", f.messages, n, n))
		}
		var ids []string
		for n := range 20 {
			ids = append(ids, fmt.Sprint("user-", n))
			add(t, f.Session(ids[n]), numbered(1, 3)...)
			add(t, f.Session(ids[n]), numbered(4, 4)...)
		}
		require.ElementsMatch(t, ids, sessionIDs(t, f.Store))
		for _, id := range ids {
			s := f.Session(id)
			changed, err := s.RewriteItems(t.Context(), 1, func(stored []Item) ([]Item, bool) {
				new := slices.Clone(stored)
				for i := range new {
					switch number(t, stored[i]) {
					case 1:
						new[i] = nil
					case 3:
						new[i] = Item(`{"n": 33}`)
					}
				}
				return new, true
			})
			require.NoError(t, err)
			require.Equal(t, 2, changed)
			popped, err := s.PopItem(t.Context())
			require.NoError(t, err)
			require.Equal(t, `{"n": 4}`, string(popped))
			requireItems(t, s, Item(`{"n": 2}`), Item(`{"n": 33}`))
			newest, err := s.GetItems(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, []string{`{"n": 33}`}, texts(newest))
		}
		require.NoError(t, f.Session(ids[0]).ClearSession(t.Context()))
		require.ElementsMatch(t, ids[1:], sessionIDs(t, f.Store))
	}, PostgreSQL)
}
