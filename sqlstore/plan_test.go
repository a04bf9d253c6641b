package sqlstore

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// manyAdds says how often the tests of plans add 500 items. SQLite plans
// without a look at the rows; the servers would read a short table whole.
var manyAdds = map[Dialect]int{SQLite: 2, PostgreSQL: 20, MySQL: 20}

// TestReadsThroughTheIndex asks the database how it reads the newest 50 of
// 10,000 rows. It must use the index, and read only the rows that it returns,
// or a few more. It also asks how the database reads the second page of a pass.
func TestReadsThroughTheIndex(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			t.Run(by.name, func(t *testing.T) {
				f := newFixture(t, b, by)
				for range manyAdds[b.dialect] { // one transaction each: the rows of one have the same time
					add(t, f.Session("long"), numbered(1, 500)...)
					add(t, f.Session("other"), numbered(1, 500)...)
				}
				items, err := f.Session("long").GetItems(t.Context(), 50)
				require.NoError(t, err)
				require.Equal(t, texts(numbered(451, 500)), texts(items))

				query := f.tables.fill(f.found.Load().newestQuery("message_data"))
				switch b.dialect {
				case SQLite:
					f.requireSQLitePlan(t, by, query)
				case PostgreSQL:
					f.requirePostgresPlan(t, by, query)
				case MySQL:
					f.requireMySQLPlan(t, query)
				}
				f.requirePassPlan(t, by)
			})
		}
	})
}

func (f *fixture) requireSQLitePlan(t *testing.T, by tablesOf, query string) {
	rows, err := f.db.Query("EXPLAIN QUERY PLAN "+query, "long", "long", 50)
	require.NoError(t, err)
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var detail string
		require.NoError(t, rows.Scan(new(any), new(any), new(any), &detail))
		plan = append(plan, detail)
	}
	require.NoError(t, rows.Err())
	index := "idx_" + f.messages + "_session_id"
	if by.name == bySQLAlchemyOnSQLite.name {
		index = "idx_" + f.messages + "_session_time"
	}
	// One step: no sorting, no table read from end to end.
	require.Equal(t, []string{"SEARCH " + f.messages + " USING INDEX " + index + " (session_id=?)"}, plan)
}

func (f *fixture) requirePostgresPlan(t *testing.T, by tablesOf, query string) {
	f.exec(t, "ANALYZE {messages}")
	rows, err := f.db.Query("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) "+query, "long", "long", 50)
	require.NoError(t, err)
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		plan = append(plan, line)
	}
	require.NoError(t, rows.Err())
	text := strings.Join(plan, "\n")
	require.Contains(t, text, "Index Scan Backward using "+"idx_"+f.messages+"_session_time")
	require.NotContains(t, text, "Seq Scan")
	if by.name == ours.name {
		require.NotContains(t, text, "Sort")
		require.Contains(t, text, "(actual rows=50 loops=1)", "it reads no more than it returns")
	} else {
		// Python's index ends at created_at. The rows of a transaction are
		// sorted, but only those of the newest one.
		require.Contains(t, text, "Incremental Sort")
		require.Contains(t, text, "(actual rows=501 loops=1)")
	}
}

func (f *fixture) requireMySQLPlan(t *testing.T, query string) {
	conn, err := f.db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	var key, extra string
	columns := []any{new(any), new(any), new(any), new(any), new(any), &key, new(any), new(any), new(any), &extra}
	require.NoError(t, conn.QueryRowContext(t.Context(), "EXPLAIN "+query, "long", "long", 50).Scan(columns...))
	require.Equal(t, "idx_"+f.messages+"_session_time", key)
	require.NotContains(t, extra, "filesort")
	f.requireFewReads(t, query, "long", "long", 50)
}

// requirePassPlan asks the database how it reads the second page of a pass. It
// must read only the rows of the page. If a found index ends at the time, it may
// also read the rows that have the same time as the row before the page.
func (f *fixture) requirePassPlan(t *testing.T, by tablesOf) {
	f.exec(t, map[Dialect]string{SQLite: "SELECT 1", PostgreSQL: "ANALYZE {messages}", MySQL: "ANALYZE TABLE {messages}"}[f.dialect])
	var query string
	args := []any{"long", "long"}
	require.NoError(t, f.Session("long").read(t.Context(), func(tx transaction) error {
		_, second, err := tx.page(t.Context(), place{}, 200, 200)
		require.True(t, second.inside)
		text, behind := tx.layout.pageQuery(second)
		query, args = f.tables.fill(text), append(append(args, behind...), 50)
		return err
	}))
	switch f.dialect {
	case SQLite:
		plan := strings.Join(f.column(t, 3, "EXPLAIN QUERY PLAN "+query, args...), "\n")
		where := "idx_" + f.messages + "_session_id (session_id=? AND id<?)"
		if by.name == bySQLAlchemyOnSQLite.name {
			where = "idx_" + f.messages + "_session_time (session_id=? AND created_at<?)"
		}
		require.Contains(t, plan, "SEARCH "+f.messages+" USING INDEX "+where)
		require.NotContains(t, plan, "TEMP B-TREE")
	case PostgreSQL:
		plan := strings.Join(f.column(t, 0, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) "+query, args...), "\n")
		require.Contains(t, plan, "Index Scan Backward using idx_"+f.messages+"_session_time")
		require.NotContains(t, plan, "Seq Scan")
		if by.name == ours.name {
			require.NotContains(t, plan, "Sort")
			require.NotContains(t, plan, "Rows Removed")
			require.Contains(t, plan, "(actual rows=50 loops=1)")
		} else {
			require.Contains(t, plan, "Incremental Sort")
		}
	case MySQL:
		f.requireFewReads(t, query, args...)
	}
}

// column returns a column of the rows that a query finds, as text.
func (f *fixture) column(t *testing.T, n int, query string, args ...any) (texts []string) {
	rows, err := f.db.Query(query, args...)
	require.NoError(t, err)
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(sql.NullString)
		}
		require.NoError(t, rows.Scan(values...))
		texts = append(texts, values[n].(*sql.NullString).String)
	}
	require.NoError(t, rows.Err())
	return texts
}

// requireFewReads has the server count the rows that it reads for a query for
// 50 rows.
func (f *fixture) requireFewReads(t *testing.T, query string, args ...any) {
	conn, err := f.db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	readRows := func() (sum int) {
		err := conn.QueryRowContext(t.Context(), `SELECT SUM(variable_value) FROM information_schema.session_status
			WHERE variable_name IN ('Handler_read_key', 'Handler_read_next', 'Handler_read_prev', 'Handler_read_last')`).Scan(&sum)
		require.NoError(t, err)
		return sum
	}
	before := readRows()
	rows, err := conn.QueryContext(t.Context(), query, args...)
	require.NoError(t, err)
	found := 0
	for rows.Next() {
		found++
	}
	require.NoError(t, rows.Close())
	require.Equal(t, 50, found)
	require.LessOrEqual(t, readRows()-before, 60)
}

// TestOrderIsPythons has rows whose times are not in the order of their IDs.
func TestOrderIsPythons(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			f := newFixture(t, b, by)
			add(t, f.Session("s"), numbered(1, 1)...)
			for n, second := range []int{3, 1, 2, 3} {
				f.exec(t, "INSERT INTO {messages} (session_id, message_data, created_at) VALUES (?, ?, ?)",
					"s", fmt.Sprintf(`{"n": %d}`, n+2), fmt.Sprintf("2020-01-01 00:00:0%d", second))
			}
			f.exec(t, `UPDATE {messages} SET created_at = '2020-01-01 00:00:02' WHERE message_data = '{"n": 1}'`)
			byTime := []Item{numbered(3, 3)[0], numbered(1, 1)[0], numbered(4, 4)[0], numbered(2, 2)[0], numbered(5, 5)[0]}
			if b.dialect == SQLite && by.name != bySQLAlchemyOnSQLite.name {
				requireItems(t, f.Session("s"), numbered(1, 5)...)
				continue
			}
			requireItems(t, f.Session("s"), byTime...)
			for i := len(byTime); i > 0; i-- {
				newest, err := f.Session("s").GetItems(t.Context(), 2)
				require.NoError(t, err)
				require.Equal(t, texts(byTime[max(0, i-2):i]), texts(newest))
				require.Equal(t, string(byTime[i-1]), string(pop(t, f.Session("s"))))
			}
		}
	})
}
