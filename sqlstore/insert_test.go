package sqlstore

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// in opens the store of a fixture with another parameter in the DSN.
func (f *fixture) in(t testing.TB, parameter string) *Store {
	t.Helper()
	store, err := New(f.open(t, withParameter(f.dsnText, parameter)), f.dialect, WithTables(f.sessions, f.messages))
	require.NoError(t, err)
	return store
}

// TestZonesKeepTheOrder adds in turns from clients in zones hours apart.
func TestZonesKeepTheOrder(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		parameter := map[Dialect]string{PostgreSQL: "timezone=%s", MySQL: "time_zone=%%27%s%%27"}[b.dialect]
		zones := map[Dialect][]string{
			PostgreSQL: {"UTC", "America/New_York", "Asia/Tokyo", "UTC", "America/New_York", "Asia/Tokyo", "UTC"},
			MySQL:      {"%2B00:00", "-05:00", "%2B09:00", "%2B00:00", "-05:00", "%2B09:00", "%2B00:00"},
		}[b.dialect]
		tables := append([]tablesOf{ours}, madeByPython[b.dialect][0])
		if b.dialect == PostgreSQL {
			tables = append(tables, withCollation(bySQLAlchemyOnPostgres, "DEFAULT CURRENT_TIMESTAMP", "DEFAULT (now() AT TIME ZONE 'utc')"))
		} else {
			tables = append(tables, withCollation(inGeneralCI, "TIMESTAMP NOT NULL", "DATETIME NOT NULL"))
		}
		for _, by := range append(tables, nullable(b)[0]) {
			t.Run(by.name, func(t *testing.T) {
				f := newFixture(t, b, by)
				var want []Item
				for n, zone := range zones {
					items := numbered(2*n, 2*n+1)
					add(t, f.in(t, fmt.Sprintf(parameter, zone)).Session("s"), items...)
					want = append(want, items...)
					requireItems(t, f.Session("s"), want...)
				}
			})
		}
	}, PostgreSQL, MySQL)
}

// TestTimesAreTheDefaultUnlessTheNewestIsAhead has a default in UTC, and a
// client in another zone.
func TestTimesAreTheDefaultUnlessTheNewestIsAhead(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, withCollation(bySQLAlchemyOnPostgres, "DEFAULT CURRENT_TIMESTAMP", "DEFAULT (clock_timestamp() AT TIME ZONE 'utc')"))
		s := f.in(t, "timezone=America/New_York").Session("s")
		for n := range 3 {
			add(t, s, numbered(n, n)...)
		}
		require.Equal(t, 3, f.count(t, "SELECT COUNT(DISTINCT created_at) FROM {messages}"), "each has its own time")
	}, PostgreSQL)
}

// TestItemsComeBehindTimesAhead has a newest message whose time has not come
// yet, or that has no time.
func TestItemsComeBehindTimesAhead(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append(append([]tablesOf{ours}, madeByPython[b.dialect]...), nullable(b)...) {
			t.Run(by.name, func(t *testing.T) {
				f := newFixture(t, b, by)
				s := f.Session("s")
				add(t, s, numbered(1, 2)...)
				f.exec(t, "UPDATE {messages} SET created_at = '2037-01-01 00:00:00' WHERE message_data = ?", `{"n": 2}`)
				add(t, f.Session("other"), numbered(1, 1)...)
				add(t, s, numbered(3, 5)...)
				add(t, s, numbered(6, 6)...)
				requireItems(t, s, numbered(1, 6)...)
				clock := 2 // messages with the time of the clock
				if f.found.Load().ahead == "" {
					clock = 6 // the order is that of the IDs
				}
				require.Equal(t, clock, f.count(t, "SELECT COUNT(*) FROM {messages} WHERE created_at < '2037-01-01 00:00:00'"))
			})
		}
		for _, by := range nullable(b) {
			f := newFixture(t, b, by)
			s := f.Session("s")
			add(t, s, numbered(1, 2)...)
			f.exec(t, "UPDATE {messages} SET created_at = NULL")
			add(t, s, numbered(3, 4)...)
			requireItems(t, s, numbered(1, 4)...)
		}
	})
}

// TestTheHourThatComesTwice sets the server's clock into that hour of autumn:
// before the change, after it, and back again.
func TestTheHourThatComesTwice(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		if f.count(t, "SELECT CONVERT_TZ('2020-01-01', '+00:00', 'Europe/Berlin') IS NULL") == 1 {
			t.Skip("the server does not know the zone Europe/Berlin")
		}
		s := f.in(t, "time_zone=%27Europe%2FBerlin%27&timestamp=1792888200").Session("s") // 02:30, in summer time
		add(t, s, numbered(1, 2)...)
		s = f.in(t, "time_zone=%27Europe%2FBerlin%27&timestamp=1792890000").Session("s") // 02:00, in winter time
		add(t, s, numbered(3, 4)...)
		s = f.in(t, "time_zone=%27Europe%2FBerlin%27&timestamp=1792889000").Session("s") // a clock that was set back
		add(t, s, numbered(5, 6)...)
		requireItems(t, s, numbered(1, 6)...)
		require.Equal(t, []string{"1792888200", "1792888200", "1792890000", "1792890000", "1792890000", "1792890000"},
			f.strings(t, "SELECT CAST(UNIX_TIMESTAMP(created_at) AS SIGNED) FROM {messages} ORDER BY id"))
	}, MySQL)
}

// TestRowsThatADatabaseSwallows has triggers and rules that give no error. They
// keep rows from being stored or from being deleted.
func TestRowsThatADatabaseSwallows(t *testing.T) {
	keepAway := map[Dialect][]string{
		SQLite: {`CREATE TRIGGER keep_away BEFORE INSERT ON {messages} WHEN NEW.message_data = '{"n": 3}' BEGIN SELECT RAISE(IGNORE); END`},
		PostgreSQL: {
			`CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.message_data = ''{"n": 3}'' THEN RETURN NULL; END IF; RETURN NEW; END'`,
			"CREATE TRIGGER keep_away BEFORE INSERT ON {messages} FOR EACH ROW EXECUTE FUNCTION %s()",
		},
	}
	keepThem := map[Dialect][]string{
		SQLite:     {`CREATE TRIGGER keep_them BEFORE DELETE ON {messages} BEGIN SELECT RAISE(IGNORE); END`},
		PostgreSQL: {`CREATE RULE keep_them AS ON DELETE TO {messages} DO INSTEAD NOTHING`},
	}
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			f := newFixture(t, b, by)
			function := "keep_away_" + f.messages
			for _, statement := range keepAway[b.dialect] {
				if b.dialect == PostgreSQL {
					statement = fmt.Sprintf(statement, function)
				}
				f.exec(t, statement)
			}
			if b.dialect == PostgreSQL {
				t.Cleanup(func() { f.exec(t, "DROP FUNCTION "+function+" CASCADE") })
			}
			s := f.Session("s")
			add(t, s, numbered(1, 2)...)
			for _, items := range [][]Item{numbered(3, 3), numbered(3, 5)} {
				err := s.AddItems(t.Context(), items...)
				require.ErrorContains(t, err, fmt.Sprintf("stored %d of %d rows", len(items)-1, len(items)))
				require.ErrorContains(t, err, "trigger")
				requireItems(t, s, numbered(1, 2)...)
			}
			for _, statement := range keepThem[b.dialect] {
				f.exec(t, statement)
			}
			require.ErrorIs(t, s.ClearSession(t.Context()), errTaken)
			_, err := s.PopItem(t.Context())
			require.ErrorIs(t, err, errTaken)
			requireItems(t, s, numbered(1, 2)...)
		}
	}, SQLite, PostgreSQL)
}

// TestIDsBehindTheLastOf32Bits begins at the last ID of an INTEGER.
func TestIDsBehindTheLastOf32Bits(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		add(t, s, numbered(1, 1)...)
		f.exec(t, "UPDATE {messages} SET id = 2147483647")
		switch b.dialect {
		case PostgreSQL:
			f.exec(t, "SELECT setval(pg_get_serial_sequence('"+f.messages+"', 'id'), 2147483647)")
		case MySQL:
			f.exec(t, "ALTER TABLE {messages} AUTO_INCREMENT = 2147483648")
		}
		add(t, s, numbered(2, 3)...)
		require.Equal(t, 2, f.count(t, "SELECT COUNT(*) FROM {messages} WHERE id > 2147483647"))
		requireItems(t, s, numbered(1, 3)...)
		require.Equal(t, 3, rewrite(t, s, 1, each(remove)))
	})
}

// TestSessionsWithIDsBelowZero has messages with IDs below zero, whose sessions
// have no row.
func TestSessionsWithIDsBelowZero(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		by := madeByPython[b.dialect][0]
		by = withCollation(withCollation(by, "SERIAL", "BIGSERIAL"), "INTEGER NOT NULL AUTO_INCREMENT", "BIGINT NOT NULL AUTO_INCREMENT")
		for _, key := range []string{
			",\n\t\tFOREIGN KEY (session_id) REFERENCES {sessions} (session_id) ON DELETE CASCADE",
			",\n\t\tFOREIGN KEY(session_id) REFERENCES {sessions} (session_id) ON DELETE CASCADE",
			",\n\t\t\tFOREIGN KEY(session_id) REFERENCES {sessions} (session_id) ON DELETE CASCADE",
		} {
			by = withCollation(by, key, "")
		}
		f := newFixture(t, b, by)
		for _, id := range []int64{math.MinInt64, -1 << 40, -1 << 31, -1, 1} {
			f.exec(t, "INSERT INTO {messages} (id, session_id, message_data) VALUES (?, ?, '{}')", id, fmt.Sprint("session ", id))
		}
		require.Len(t, sessionIDs(t, f.Store), 5)
	})
}

// TestNewestVanishesDuringAnAdd has the newest message, whose time is ahead,
// removed between the two statements of an add. A trigger stands in for a pop by
// another client: it runs even if the first statement inserts no row.
func TestNewestVanishesDuringAnAdd(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		add(t, s, numbered(1, 1)...)
		f.exec(t, "UPDATE {messages} SET created_at = created_at + INTERVAL '1 hour'")
		function := f.messages + "_pop"
		f.exec(t, "CREATE FUNCTION "+function+"() RETURNS trigger LANGUAGE plpgsql AS "+
			"'BEGIN DELETE FROM {messages} WHERE created_at > CURRENT_TIMESTAMP + INTERVAL ''30 minutes''; RETURN NULL; END'")
		t.Cleanup(func() { f.exec(t, "DROP FUNCTION "+function+" CASCADE") })
		f.exec(t, "CREATE TRIGGER pop AFTER INSERT ON {messages} FOR EACH STATEMENT EXECUTE FUNCTION "+function+"()")
		add(t, s, numbered(2, 4)...)
		requireItems(t, s, numbered(2, 4)...)
	}, PostgreSQL)
}

// TestTheLastID has a row with the last ID of all. SQLite has no ID for another
// row behind it.
func TestTheLastID(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range slices.Concat(madeByPython[SQLite], []tablesOf{ours, sqliteTables("TEXT", "TEXT")}) {
			f := newFixture(t, b, by)
			s := f.Session("s")
			add(t, s, numbered(1, 2)...)
			f.exec(t, "INSERT OR IGNORE INTO {sessions} (session_id) VALUES ('other')")
			f.exec(t, "INSERT INTO {messages} (id, session_id, message_data) VALUES (?, 'other', '{}')", int64(math.MaxInt64))
			for _, items := range [][]Item{numbered(3, 3), numbered(3, 500)} {
				require.ErrorContains(t, s.AddItems(t.Context(), items...), "the messages table has a row with almost the highest possible ID")
				requireItems(t, s, numbered(1, 2)...)
			}
			f.exec(t, "UPDATE {messages} SET id = 100 WHERE session_id = 'other'")
			if by.ddl == nil || strings.Contains(strings.Join(by.ddl, ""), "AUTOINCREMENT") {
				f.exec(t, "UPDATE sqlite_sequence SET seq = 100 WHERE name = ?", f.messages)
			}
			add(t, s, numbered(3, 500)...)
			requireItems(t, s, numbered(1, 500)...)
		}
	}, SQLite)
}
