package sqlstore

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// inconsiderate are found tables with collations that take different session IDs for equal.
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

// TestSharedSessionRow keeps the messages of IDs apart that have one row in the sessions table.
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
				for info := range f.Sessions(t.Context()) { // a row may be left that bears the name of one of them
					require.Equal(t, "alice", info.ID)
				}
			})
		}
	})
}

// TestIDsThatCannotBeHeld gives IDs that must be errors of every method, with nothing written.
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

// TestLongestIDs holds what just fits.
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

// TestTextThatCannotBeHeld gives items that MySQL would change, unless it is in its strict mode.
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

// TestUnsupportedTables finds tables that could not keep the promises of a Session.
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
