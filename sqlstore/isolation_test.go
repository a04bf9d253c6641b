package sqlstore

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// inconsiderate are found tables with collations that treat different session
// IDs as equal.
var inconsiderate = map[Dialect][]tablesOf{
	SQLite: {withCollation(bySQLiteSession, "TEXT", "TEXT COLLATE NOCASE")},
	PostgreSQL: {{name: "nondeterministic", ddl: append(
		[]string{"CREATE COLLATION IF NOT EXISTS encsession_ci (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"},
		withCollation(bySQLAlchemyOnPostgres, "session_id VARCHAR", "session_id VARCHAR COLLATE encsession_ci").ddl...)}},
	MySQL: {
		forSQLAlchemyOnMySQL("utf8mb4", "utf8mb4_general_ci"),
		forSQLAlchemyOnMySQL("utf8mb4", "utf8mb4_unicode_ci"),
		forSQLAlchemyOnMySQL("utf8mb3", "utf8mb3_general_ci"),
	},
}

func withCollation(by tablesOf, old, new string) tablesOf {
	changed := tablesOf{name: new}
	for _, statement := range by.ddl {
		changed.ddl = append(changed.ddl, strings.ReplaceAll(statement, old, new))
	}
	return changed
}

// TestSharedSessionRow has IDs that share a row in the sessions table. Their
// messages stay apart.
func TestSharedSessionRow(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range inconsiderate[b.dialect] {
			t.Run(by.name, func(t *testing.T) {
				f := newFixture(t, b, by)
				ids := []string{"alice", "Alice", "alicé", "alice ", "ALICE"}
				mark := func(id, name string) Item { return Item(`"` + id + " " + name + `"`) }
				for i, id := range ids {
					add(t, f.Session(id), mark(id, "1"), Item(`"same"`), mark(id, "2"))
					for _, later := range ids[i+1:] {
						requireItems(t, f.Session(later))
					}
				}
				rows := f.count(t, "SELECT COUNT(*) FROM {sessions}")
				require.Less(t, rows, len(ids), "these tables do not show what this test is about")
				for _, id := range ids {
					requireItems(t, f.Session(id), mark(id, "1"), Item(`"same"`), mark(id, "2"))
				}
				require.ElementsMatch(t, ids, sessionIDs(t, f.Store))

				require.Equal(t, 1, rewrite(t, f.Session("Alice"), 9, func(stored []Item) ([]Item, bool) {
					require.Equal(t, texts([]Item{mark("Alice", "2"), Item(`"same"`), mark("Alice", "1")}), texts(stored))
					return []Item{stored[0], nil, stored[2]}, true
				}))
				require.Equal(t, string(mark("Alice", "2")), string(pop(t, f.Session("Alice"))))
				for i, id := range ids {
					require.NoError(t, f.Session(id).ClearSession(t.Context()))
					requireItems(t, f.Session(id))
					for _, later := range ids[i+1:] {
						if later != "Alice" {
							requireItems(t, f.Session(later), mark(later, "1"), Item(`"same"`), mark(later, "2"))
						} else {
							requireItems(t, f.Session(later), mark(later, "1"))
						}
					}
				}
				require.Zero(t, f.count(t, "SELECT COUNT(*) FROM {messages}"))
				// A row with the name of one of them may be left.
				for info := range f.Sessions(t.Context()) {
					require.Equal(t, "alice", info.ID)
				}
			})
		}
	})
}

// TestIDsThatCannotBeHeld has IDs for which every method must return an error
// and write nothing.
func TestIDsThatCannotBeHeld(t *testing.T) {
	long := strings.Repeat("é", 256)
	for _, test := range []struct {
		dialect  Dialect
		by       tablesOf
		id, want string
	}{
		{SQLite, ours, "a\xff", "not valid UTF-8"},
		{PostgreSQL, ours, "a\xff", "not valid UTF-8"},
		{PostgreSQL, ours, "a\x00", "U+0000"},
		{PostgreSQL, withCollation(bySQLAlchemyOnPostgres, "session_id VARCHAR", "session_id VARCHAR(10)"),
			"0123456789 ", "11 characters and the column holds 10"},
		{MySQL, ours, "a\xff", "not valid UTF-8"},
		{MySQL, ours, long, "256 characters and the column holds 255"},
		{MySQL, forSQLAlchemyOnMySQL("utf8mb3", "utf8mb3_general_ci"), "a😀", "U+1F600"},
		{MySQL, forSQLAlchemyOnMySQL("latin1", "latin1_swedish_ci"), "é", "U+00E9"},
	} {
		onEach(t, func(t *testing.T, b backend) {
			f := newFixture(t, b, test.by)
			s := f.Session(test.id)
			_, get := s.GetItems(t.Context(), 1)
			_, pop := s.PopItem(t.Context())
			_, rewrite := s.RewriteItems(t.Context(), 1, each(remove))
			for _, err := range []error{get, s.AddItems(t.Context(), numbered(1, 1)...), pop, s.ClearSession(t.Context()), rewrite} {
				require.ErrorContains(t, err, "cannot hold this session ID: ")
				require.ErrorContains(t, err, test.want)
			}
			require.Zero(t, f.count(t, "SELECT COUNT(*) FROM {sessions}"))
		}, test.dialect)
	}
}

// TestLongestIDs has IDs that just fit.
func TestLongestIDs(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		for _, id := range []string{strings.Repeat("😀", 255), strings.Repeat("😀", 254) + "😁", ""} {
			add(t, f.Session(id), numbered(1, 1)...)
			requireItems(t, f.Session(id), numbered(1, 1)...)
		}
		if b.dialect != PostgreSQL {
			add(t, f.Session("a\x00b"), numbered(1, 1)...)
			requireItems(t, f.Session("a"))
			requireItems(t, f.Session("a\x00b"), numbered(1, 1)...)
		}
	})
}

// TestTextThatCannotBeHeld has items that MySQL would change outside its strict
// mode.
func TestTextThatCannotBeHeld(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, test := range []struct {
			by   tablesOf
			item string
			want string
		}{
			{forSQLAlchemyOnMySQL("utf8mb3", "utf8mb3_general_ci"), `"😀"`, "U+1F600"},
			{forSQLAlchemyOnMySQL("latin1", "latin1_swedish_ci"), `"é"`, "U+00E9"},
			{withCollation(forSQLAlchemyOnMySQL("utf8mb4", "utf8mb4_bin"), "LONGTEXT", "TEXT"),
				`"` + strings.Repeat("x", 65_534) + `"`, "65536 bytes and the database holds 65535"},
		} {
			f := newFixtureAt(t, b, b.dsn(t)+"?sql_mode=%27%27", test.by)
			s := f.Session("s")
			add(t, s, numbered(1, 1)...)
			require.ErrorContains(t, s.AddItems(t.Context(), Item("1"), Item(test.item)), "item 1: the database cannot hold it: ")
			_, err := s.RewriteItems(t.Context(), 1, func([]Item) ([]Item, bool) { return []Item{Item(test.item)}, true })
			require.ErrorContains(t, err, "item 0 of a batch: the database cannot hold it: ")
			require.ErrorContains(t, err, test.want)
			requireItems(t, s, numbered(1, 1)...)
		}
	}, MySQL)
}

// TestUnsupportedTables has tables that could not keep the promises of a
// Session.
func TestUnsupportedTables(t *testing.T) {
	refuses := func(t *testing.T, f *fixture, want string) {
		_, err := f.Session("s").GetItems(t.Context(), 0)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, f.CreateTables(t.Context()), errors.ErrUnsupported)
	}
	mysql := forSQLAlchemyOnMySQL("utf8mb4", "utf8mb4_bin")
	onEach(t, func(t *testing.T, b backend) {
		refuses(t, newFixture(t, b, withCollation(withCollation(mysql, "InnoDB", "MyISAM"), "255", "200")), "engine MyISAM")
		refuses(t, newFixture(t, b, withCollation(mysql, "VARCHAR(255)", "CHAR(255)")), "session_id")
		refuses(t, newFixtureAt(t, b, b.dsn(t)+"?charset=latin1", mysql), "character set is not utf8mb4: add charset=utf8mb4 to the DSN")
	}, MySQL)
	onEach(t, func(t *testing.T, b backend) {
		refuses(t, newFixture(t, b, withCollation(bySQLAlchemyOnPostgres, "VARCHAR", "CHAR(20)")), "type bpchar")
		refuses(t, newFixture(t, b, withCollation(bySQLAlchemyOnPostgres, "TEXT", "JSONB")), "type jsonb")
	}, PostgreSQL)
	onEach(t, func(t *testing.T, b backend) {
		utf16 := tablesOf{ddl: append([]string{"PRAGMA encoding = 'UTF-16'"}, bySQLiteSession.ddl...)}
		f := newFixture(t, b, tablesOf{ddl: []string{}})
		f.db.SetMaxOpenConns(1)
		for _, statement := range utf16.ddl {
			f.exec(t, statement)
		}
		refuses(t, f, "UTF-16")
	}, SQLite)
}

// TestConnectionsThatChangeText has connections with another character set. It
// comes from the DSN, or from a server that sets it at each connection. The
// server may begin to do so after the Store has found its tables.
func TestConnectionsThatChangeText(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		add(t, f.Session("s"), Item(`"é"`))
		for _, parameter := range map[Dialect][]string{
			PostgreSQL: {"client_encoding=LATIN1", "client_encoding=SQL_ASCII"},
			MySQL: {
				"charset=latin1", "collation_connection=utf8mb3_unicode_ci", "character_set_connection=latin1",
				"character_set_results=latin1", "character_set_results=NULL", "character_set_client=utf8mb3",
				"interpolateParams=true&collation_connection=utf8mb3_unicode_ci",
			},
		}[b.dialect] {
			store := f.in(t, parameter)
			for _, found := range []*layout{nil, f.found.Load()} {
				store.found.Store(found)
				for name, err := range calls(t.Context(), store, store.Session("🦊")) {
					if name == "CreateTables" && b.dialect == PostgreSQL || name == "RewriteItems" && found == nil {
						// CreateTables writes no text, and RewriteItems was
						// stopped before.
						continue
					}
					require.ErrorIs(t, err, errors.ErrUnsupported, "%s: %s", parameter, name)
					require.ErrorContains(t, err, map[Dialect]string{
						PostgreSQL: "add client_encoding=UTF8 to the DSN",
						MySQL:      "add charset=utf8mb4 to the DSN",
					}[b.dialect])
				}
			}
			// This connection has changed between the read of a batch and the
			// change.
			require.NoError(t, store.onConnection(t.Context(), func(conn *sql.Conn) error {
				tx := transaction{Conn: conn, tables: f.tables, layout: *f.found.Load(), sessionID: "s"}
				_, err := tx.swap(t.Context(), []change{{row: row{id: 1, data: Item(`"é"`)}}}, nil)
				require.ErrorIs(t, store.database.refuse(err), errors.ErrUnsupported)
				return nil
			}))
		}
		requireItems(t, f.Session("s"), Item(`"é"`))
		require.Equal(t, []string{"s"}, sessionIDs(t, f.Store))
	}, PostgreSQL, MySQL)
}

// TestDatabaseInLatin1 uses such a database over a connection without
// parameters, and then with the parameter that the error names.
func TestDatabaseInLatin1(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		server := b.open(t, b.dsn(t))
		name := "encsession_" + strings.ToLower(rand.Text()[:10])
		_, err := server.Exec("CREATE DATABASE " + name + " ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
		require.NoError(t, err)
		t.Cleanup(func() {
			_, err := server.Exec("DROP DATABASE " + name + " WITH (FORCE)")
			require.NoError(t, err)
		})
		dsn := strings.Replace(b.dsn(t), "/postgres?", "/"+name+"?", 1)
		f := newFixtureAt(t, b, withParameter(dsn, "client_encoding=UTF8"), ours)
		plain, err := New(b.open(t, dsn), PostgreSQL, WithTables(f.sessions, f.messages))
		require.NoError(t, err)
		for _, id := range []string{"müller", "日本"} {
			err := plain.Session(id).AddItems(t.Context(), Item(`{}`))
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorContains(t, err, "add client_encoding=UTF8 to the DSN")
		}
		add(t, f.Session("müller"), Item(`"grün"`))
		requireItems(t, f.Session("müller"), Item(`"grün"`))
		require.Error(t, f.Session("日本").AddItems(t.Context(), Item(`{}`)))
		require.Error(t, f.Session("müller").AddItems(t.Context(), Item(`"日本"`)))
		require.Equal(t, []string{"müller"}, sessionIDs(t, f.Store))
		require.Equal(t, []string{"6dc3bc6c6c6572"}, f.strings(t, "SELECT encode(convert_to(session_id, 'UTF8'), 'hex') FROM {messages}"))
	}, PostgreSQL)
}
