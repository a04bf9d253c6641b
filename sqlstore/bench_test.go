package sqlstore

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Run the benchmarks with
//
//	go test -run '^$' -bench . -benchtime 2s
//
// and, for the servers, with the variables that backends names. The metric x-driver is the time that the store
// takes, divided by that of the bare driver which executes the same inserts and selects on the same tables, in
// turns.

// onEachBench runs a benchmark on each backend.
func onEachBench(b *testing.B, f func(b *testing.B, f *fixture)) {
	for _, backend := range backends {
		b.Run(backend.name, func(b *testing.B) { f(b, newFixture(b, backend, ours)) })
	}
}

// benchItems returns items of some 500 bytes, the size of a short message in an envelope.
func benchItems(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item(fmt.Sprintf(`{"n": %d, "content": "%s"}`, i, strings.Repeat("x", 480)))
	}
	return items
}

// compare measures the store against the bare driver, in turns, so that both see the same tables and the same
// machine.
func compare(b *testing.B, store, bare func()) {
	var storeTime, bareTime time.Duration
	for b.Loop() {
		start := time.Now()
		store()
		between := time.Now()
		bare()
		storeTime += between.Sub(start)
		bareTime += time.Since(between)
	}
	b.ReportMetric(float64(storeTime.Nanoseconds())/float64(b.N), "store-ns/op")
	b.ReportMetric(float64(storeTime)/float64(bareTime), "x-driver")
}

func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			onEachBench(b, func(b *testing.B, f *fixture) {
				items := benchItems(n)
				s := f.Session("store")
				db := f.bareDB(b)
				compare(b,
					func() { require.NoError(b, s.AddItems(b.Context(), items...)) },
					func() { require.NoError(b, f.bareAdd(b, db, items)) })
			})
		})
	}
}

// bareDB returns a pool for the bare driver. On SQLite it has the pragmas in its DSN that the store sets by itself.
func (f *fixture) bareDB(b *testing.B) *sql.DB {
	dsn := f.dsnText
	switch f.driver {
	case "sqlite":
		dsn = "file:" + dsn + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate"
	case "sqlite3":
		dsn = "file:" + dsn + "?_busy_timeout=5000&_journal_mode=WAL&_txlock=immediate"
	}
	return f.open(b, dsn)
}

func (f *fixture) bareAdd(b *testing.B, db *sql.DB, items []Item) error {
	tx, err := db.BeginTx(b.Context(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(b.Context(), f.tables.fill(f.database.upsert()), "bare"); err != nil {
		return err
	}
	args := make([]any, 0, 2*len(items))
	for _, item := range items {
		args = append(args, "bare", string(item))
	}
	query := f.tables.fill("INSERT INTO {messages} (session_id, message_data) VALUES " + list("(?, ?)", len(items)))
	if _, err := tx.ExecContext(b.Context(), query, args...); err != nil {
		return err
	}
	return tx.Commit()
}

func BenchmarkGet(b *testing.B) {
	for _, limit := range []int{1, 50, 500} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			onEachBench(b, func(b *testing.B, f *fixture) {
				add(b, f.Session("s"), benchItems(1000)...)
				db := f.bareDB(b)
				compare(b,
					func() {
						items, err := f.Session("s").GetItems(b.Context(), limit)
						require.NoError(b, err)
						require.Len(b, items, limit)
					},
					func() { require.Len(b, f.bareGet(b, db, limit), limit) })
			})
		})
	}
}

func (f *fixture) bareGet(b *testing.B, db *sql.DB, limit int) (items []Item) {
	query := f.tables.fill(f.found.Load().newestQuery())
	rows, err := db.QueryContext(b.Context(), query, "s", "s", limit)
	require.NoError(b, err)
	defer rows.Close()
	for rows.Next() {
		var id int64
		var item []byte
		require.NoError(b, rows.Scan(&id, &item))
		items = append(items, item)
	}
	require.NoError(b, rows.Err())
	return items
}

// BenchmarkLongHistory reads the newest 50 of 100,000 items, and of 100. The metric x-short is the quotient.
func BenchmarkLongHistory(b *testing.B) {
	onEachBench(b, func(b *testing.B, f *fixture) {
		items := benchItems(1000)
		for range 100 {
			add(b, f.Session("long"), items...)
		}
		add(b, f.Session("short"), items[:100]...)
		if f.dialect == PostgreSQL {
			f.exec(b, "VACUUM ANALYZE {messages}") // as the server does by itself, a minute after such a load
		}
		get := func(id string) (took time.Duration) {
			start := time.Now()
			got, err := f.Session(id).GetItems(b.Context(), 50)
			took = time.Since(start)
			require.NoError(b, err)
			require.Len(b, got, 50)
			return took
		}
		var long, short time.Duration
		for b.Loop() {
			short += get("short")
			long += get("long")
		}
		b.ReportMetric(float64(long)/float64(short), "x-short")
	})
}

// BenchmarkPop pops an item that has been added before.
func BenchmarkPop(b *testing.B) {
	onEachBench(b, func(b *testing.B, f *fixture) {
		s := f.Session("s")
		add(b, s, benchItems(1000)...)
		item := benchItems(1)
		for b.Loop() {
			require.NoError(b, s.AddItems(b.Context(), item...))
			got, err := s.PopItem(b.Context())
			require.NoError(b, err)
			require.NotNil(b, got)
		}
	})
}
