package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestThousandItemsInOneCall(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		items := numbered(1, 1000)
		add(t, s, items...)
		requireItems(t, s, items...)
		require.Equal(t, texts(items), f.strings(t, "SELECT message_data FROM {messages} ORDER BY id"), "IDs ascend")

		bad := append(slices.Clone(items), Item(`{"cut":`))
		require.ErrorContains(t, s.AddItems(t.Context(), bad...), "item 1000: it is not JSON")
		require.ErrorContains(t, s.AddItems(t.Context(), Item("\"\xff\"")), "item 0: it is not JSON in valid UTF-8")
		requireItems(t, s, items...)

		require.NoError(t, f.Session("nobody").AddItems(t.Context()))
		require.Equal(t, []string{"s"}, f.strings(t, "SELECT session_id FROM {sessions}"))
	})
}

// TestFailsInTheMiddle has the database refuse a row of a later statement of
// one call.
func TestFailsInTheMiddle(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		if b.dialect == SQLite {
			f.exec(t, `CREATE TRIGGER refuse BEFORE INSERT ON {messages} WHEN NEW.message_data = '{"n": 900}'
				BEGIN SELECT RAISE(ABORT, 'refused'); END`)
		} else {
			f.exec(t, `ALTER TABLE {messages} ADD CONSTRAINT refuse CHECK (message_data <> '{"n": 900}')`)
		}
		s := f.Session("s")
		err := s.AddItems(t.Context(), numbered(1, 1000)...)
		require.ErrorContains(t, err, "sqlstore: AddItems: ")
		require.NotContains(t, err.Error(), `"n"`)
		requireItems(t, s)
		require.Empty(t, f.strings(t, "SELECT session_id FROM {sessions}"))
		add(t, s, numbered(1, 10)...)
		requireItems(t, s, numbered(1, 10)...)
	})
}

func TestTimesComeFromTheDatabase(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		add(t, s, numbered(1, 2)...)
		const format = "2006-01-02 15:04:05"
		if b.dialect == SQLite {
			for _, text := range f.strings(t, "SELECT CAST(created_at AS TEXT) FROM {messages}") {
				_, err := time.Parse(format, text)
				require.NoError(t, err)
			}
		}
		f.exec(t, "UPDATE {sessions} SET created_at = '2001-01-01 00:00:00', updated_at = '2001-01-01 00:00:00'")
		old := "SELECT COUNT(*) FROM {sessions} WHERE "
		pop(t, s)
		require.Equal(t, 1, rewrite(t, s, 1, each(func(Item) Item { return numbered(7, 7)[0] })))
		require.Equal(t, 1, f.count(t, old+"updated_at = '2001-01-01 00:00:00'"), "pops leave the session's row alone")
		add(t, s, numbered(3, 3)...)
		require.Equal(t, 1, f.count(t, old+"updated_at > '2020-01-01 00:00:00'"))
		require.Equal(t, 1, f.count(t, old+"created_at = '2001-01-01 00:00:00'"))
	})
}

// TestBytesAreKept adds items that a database might change, cut off or refuse.
func TestBytesAreKept(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		items := []Item{
			Item(` { "b":1.00, "a":  1e2,"a":2 } `), Item("{}\r\n"), Item("\t[]"), Item(`"é 😀 \u0000 \ud800"`),
			Item("\"\u00e9 e\u0301 \uffff \ufeff \u2028 \U0010ffff\""), Item(`{"quote": "'\\\" $1 ? % {messages}"}`),
			Item(`"` + strings.Repeat("long ", 800_000) + `"`), Item(`"` + strings.Repeat("😀", 200_000) + `"`),
		}
		add(t, s, items...)
		got, err := s.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, got, len(items))
		for i := range items {
			require.True(t, bytes.Equal(items[i], got[i]), "item %d: %.50q", i, items[i])
		}
	})
}

// TestBeyondTheServersPacket adds items that do not fit into one packet of the
// server: one alone, and several that fit one by one.
func TestBeyondTheServersPacket(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		packet := f.count(t, "SELECT @@max_allowed_packet")
		big := Item(`"` + strings.Repeat("x", packet) + `"`)
		err := s.AddItems(t.Context(), Item("1"), big)
		require.ErrorContains(t, err, "item 1: the database cannot hold it: it has ")
		requireItems(t, s)
		third := Item(`"` + strings.Repeat("x", packet/3) + `"`)
		add(t, s, third, third, third, third)
		items, err := s.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, items, 4)
	}, MySQL)
}

// strange has rows that somebody else has put into the table.
var strange = []string{"", "text", `{"cut":`, `{"a": NaN}`, "{}{}", "{'a': 1}"}

func TestRowsThatAreNotJSON(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			f := newFixture(t, b, by)
			s := f.Session("s")
			for _, item := range numbered(1, 4) {
				add(t, s, item)
				for range 3 {
					for _, data := range strange {
						f.insertRow(t, "s", data)
					}
				}
			}
			requireItems(t, s, numbered(1, 4)...)
			for limit := 1; limit <= 5; limit++ {
				items, err := s.GetItems(t.Context(), limit)
				require.NoError(t, err)
				require.Equal(t, texts(numbered(max(1, 5-limit), 4)), texts(items))
			}
			require.Equal(t, 1, rewrite(t, s, 1, each(func(item Item) Item {
				if string(item) == `{"n": 2}` {
					return nil
				}
				return item
			})))
			require.Equal(t, `{"n": 4}`, string(pop(t, s)))
			require.Equal(t, `{"n": 3}`, string(pop(t, s)))
			require.Equal(t, `{"n": 1}`, string(pop(t, s)))
			require.Nil(t, pop(t, s))
			require.Equal(t, 4*3*len(strange), f.count(t, "SELECT COUNT(*) FROM {messages}"), "rows of others are left alone")
			require.NoError(t, s.ClearSession(t.Context()))
			require.Zero(t, f.count(t, "SELECT COUNT(*) FROM {messages}"))
		}
	})
}

// TestRowsOfOtherTypes has values that only SQLite can hold in a column of
// text.
func TestRowsOfOtherTypes(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, tablesOf{ddl: []string{
			"CREATE TABLE {sessions} (session_id TEXT PRIMARY KEY, updated_at TIMESTAMP)",
			"CREATE TABLE {messages} (id INTEGER PRIMARY KEY, session_id TEXT, message_data)",
		}})
		s := f.Session("s")
		add(t, s, numbered(1, 1)...)
		f.exec(t, `INSERT INTO {messages} (session_id, message_data) VALUES ('s', NULL), ('s', x'ff00'), ('s', x'7b7d')`)
		requireItems(t, s, Item(`{"n": 1}`), Item("{}"))
		require.Equal(t, "{}", string(pop(t, s)))
		require.Equal(t, `{"n": 1}`, string(pop(t, s)))
		require.Nil(t, pop(t, s))
		require.Equal(t, 2, f.count(t, "SELECT COUNT(*) FROM {messages}"))
		f.exec(t, "INSERT INTO {sessions} (session_id) VALUES (NULL)")
		require.Equal(t, []string{"s"}, sessionIDs(t, f.Store))
	}, SQLite)
}

func pop(t testing.TB, s *Session) Item {
	t.Helper()
	item, err := s.PopItem(t.Context())
	require.NoError(t, err)
	return item
}

// pythonPop has the statement with which Python pops. It is a single one,
// without a lock on the session.
var pythonPop = map[Dialect]string{
	SQLite: `DELETE FROM {messages} WHERE id = (SELECT id FROM {messages} WHERE session_id = ? ORDER BY id DESC LIMIT 1)
		RETURNING message_data`,
	PostgreSQL: `DELETE FROM {messages} WHERE id = (SELECT id FROM {messages} WHERE session_id = ?
		ORDER BY created_at DESC, id DESC LIMIT 1) RETURNING message_data`,
}

// TestEachItemToOnePopper pops from many goroutines at once. Some of them pop
// as Python does, if Python has such a statement for the database.
func TestEachItemToOnePopper(t *testing.T) {
	const poppers, items = 8, 200
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		add(t, f.Session("s"), numbered(1, items)...)
		popped := make(chan string, 2*items)
		var group sync.WaitGroup
		for n := range poppers {
			group.Go(func() {
				for {
					var item string
					if query := pythonPop[b.dialect]; query != "" && n%2 == 1 {
						found := f.tryPythonPop(t, query)
						if len(found) == 0 && f.count(t, "SELECT COUNT(*) FROM {messages}") > 0 {
							// Another client was faster. Python notices that by
							// asking again.
							continue
						}
						item = strings.Join(found, "")
					} else {
						got, err := f.Session("s").PopItem(t.Context())
						if err != nil {
							t.Errorf("PopItem: %v", err)
							return
						}
						item = string(got)
					}
					if item == "" {
						return
					}
					popped <- item
				}
			})
		}
		group.Wait()
		close(popped)
		require.ElementsMatch(t, texts(numbered(1, items)), slices.Collect(func(yield func(string) bool) {
			for item := range popped {
				if !yield(item) {
					return
				}
			}
		}))
	})
}

func (f *fixture) tryPythonPop(t *testing.T, query string) []string {
	if f.dialect != SQLite {
		return f.strings(t, query, "s")
	}
	var found []string
	// onConnection waits for locks, as Python does.
	require.NoError(t, f.onConnection(t.Context(), func(conn *sql.Conn) error {
		var data string
		err := conn.QueryRowContext(t.Context(), f.tables.fill(query), "s").Scan(&data)
		if data != "" {
			found = []string{data}
		}
		if err != nil && strings.Contains(err.Error(), "no rows") {
			return nil
		}
		return err
	}))
	return found
}

// TestDeadlock has another client lock rows in the opposite order, so that
// PostgreSQL ends one of the transactions.
func TestDeadlock(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		add(t, s, numbered(1, 3)...)
		other, err := f.db.Begin()
		require.NoError(t, err)
		_, err = other.Exec(f.tables.fill(`DELETE FROM {messages} WHERE message_data = '{"n": 3}'`))
		require.NoError(t, err)
		popped := make(chan Item, 1)
		go func() {
			item, err := s.PopItem(context.WithoutCancel(t.Context()))
			if err != nil {
				t.Errorf("PopItem: %v", err)
			}
			popped <- item
		}()
		require.Eventually(t, func() bool {
			waiting := "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE%" + f.messages + "%'"
			return f.count(t, waiting) == 1
		}, 10*time.Second, 5*time.Millisecond, "PopItem waits for the row that the other client deletes")
		_, err = other.Exec(f.tables.fill("UPDATE {sessions} SET updated_at = CURRENT_TIMESTAMP"))
		require.NoError(t, err, "PopItem has waited longer, so that it is the one to be rolled back")
		require.NoError(t, other.Commit())
		require.Equal(t, `{"n": 2}`, string(<-popped))
		requireItems(t, s, numbered(1, 1)...)
	}, PostgreSQL)
}
