package sqlstore

import (
	"database/sql"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// Run the benchmarks with
//
//	go test -run '^$' -bench . -benchtime 2s
//
// and, for the servers, with the variables that backends names. The metric
// x-driver is the time of the store divided by the time of the bare driver. The
// driver executes the same inserts and selects on the same tables, in turns
// with the store.

// onEachBench runs a benchmark on each backend.
func onEachBench(b *testing.B, f func(b *testing.B, f *fixture)) {
	for _, backend := range backends {
		b.Run(backend.name, func(b *testing.B) { f(b, newFixture(b, backend, ours)) })
	}
}

// benchItems returns items of some 500 bytes, the size of a short message in an
// envelope.
func benchItems(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item(fmt.Sprintf(`{"n": %d, "content": "%s"}`, i, strings.Repeat("x", 480)))
	}
	return items
}

// compare measures the store against the bare driver.
func compare(b *testing.B, store, bare func()) { inTurns(b, "x-driver", store, bare) }

// inTurns measures one call against another one. They take turns, so that both
// see the same tables and the same machine. The metric is the quotient.
func inTurns(b *testing.B, metric string, call, other func()) {
	var took, otherTook time.Duration
	for b.Loop() {
		start := time.Now()
		call()
		between := time.Now()
		other()
		took += between.Sub(start)
		otherTook += time.Since(between)
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "call-ns/op")
	b.ReportMetric(float64(took)/float64(otherTook), metric)
}

// BenchmarkEncrypted measures an EncryptedSession against the store without
// encryption, in a session of 200 items of 1 kB. `go run ./compare -stores` has
// the floor and Python too. The metrics allocs/item and x-bytes are the
// allocations of a read beyond those of the bare driver, and their bytes divided
// by those of the stored text.
func BenchmarkEncrypted(b *testing.B) {
	onEachBench(b, func(b *testing.B, f *fixture) {
		const stored = 200
		items := make([]Item, stored)
		for i := range items {
			items[i] = Item(fmt.Sprintf(`{"n": %d, "content": "%s"}`, 100+i, strings.Repeat("x", 974)))
		}
		plain := f.Session("plain")
		encrypted, err := encsession.New(f.Session("encrypted"), fleetKey(b))
		require.NoError(b, err)
		add(b, plain, items...)
		add(b, encrypted, items...)
		get := func(s encsession.Session, limit int) func() {
			return func() {
				got, err := s.GetItems(b.Context(), limit)
				require.NoError(b, err)
				require.Len(b, got, limit)
			}
		}
		for _, limit := range []int{200, 50} {
			b.Run(fmt.Sprint("get", limit), func(b *testing.B) {
				inTurns(b, "x-plain", get(encrypted, limit), get(plain, limit))
				db := f.bareDB(b)
				bare := func() { f.bareGet(b, db, "encrypted", limit) }
				allocs, bytes := allocations(get(encrypted, limit))
				bareAllocs, bareBytes := allocations(bare)
				text := len(f.bareGet(b, db, "encrypted", 1)[0]) * limit
				b.ReportMetric((allocs-bareAllocs)/float64(limit), "allocs/item")
				b.ReportMetric((bytes-bareBytes)/float64(text), "x-bytes")
			})
		}
		b.Run("add4", func(b *testing.B) {
			four := func(s encsession.Session) func() { return func() { add(b, s, items[:4]...) } }
			inTurns(b, "x-plain", four(encrypted), four(plain))
		})
		b.Run("add1+pop", func(b *testing.B) {
			both := func(s encsession.Session) func() {
				return func() {
					add(b, s, items[0])
					item, err := s.PopItem(b.Context())
					require.NoError(b, err)
					require.NotNil(b, item)
				}
			}
			inTurns(b, "x-plain", both(encrypted), both(plain))
		})
	})
}

// allocations returns the number and the bytes of the allocations of a call.
func allocations(call func()) (n, bytes float64) {
	const calls = 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range calls {
		call()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / calls, float64(after.TotalAlloc-before.TotalAlloc) / calls
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

// bareDB returns a pool for the bare driver. On SQLite its DSN has the pragmas
// that the store sets by itself.
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
					func() { require.Len(b, f.bareGet(b, db, "s", limit), limit) })
			})
		})
	}
}

func (f *fixture) bareGet(b *testing.B, db *sql.DB, id string, limit int) (items []Item) {
	query := f.tables.fill(f.found.Load().newestQuery("message_data"))
	rows, err := db.QueryContext(b.Context(), query, id, id, limit)
	require.NoError(b, err)
	defer rows.Close()
	for rows.Next() {
		var item []byte
		require.NoError(b, rows.Scan(&item))
		items = append(items, item)
	}
	require.NoError(b, rows.Err())
	return items
}

// BenchmarkLongHistory reads the newest 50 of 100,000 items (under -short, of
// 10,000), and of 100. The metric x-short is the quotient.
func BenchmarkLongHistory(b *testing.B) {
	onEachBench(b, func(b *testing.B, f *fixture) {
		items, thousands := benchItems(1000), 100
		if testing.Short() {
			thousands = 10
		}
		for range thousands {
			add(b, f.Session("long"), items...)
		}
		add(b, f.Session("short"), items[:100]...)
		if f.dialect == PostgreSQL {
			// The server does this by itself, a minute after such a load.
			f.exec(b, "VACUUM ANALYZE {messages}")
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

// BenchmarkRewrite replaces and removes each item of a session of 10,000 items,
// and of one of 100,000. The metric x-10k is the quotient. It is 10 if the time
// depends on nothing but the number of items. Meanwhile another client adds to
// the same session and to another one. The metric longest-ms is the time of the
// longest of its calls.
func BenchmarkRewrite(b *testing.B) {
	for name, new := range map[string]Item{"replace": Item(`{"n": 0, "content": "` + strings.Repeat("y", 378) + `"}`), "remove": nil} {
		b.Run(name, func(b *testing.B) {
			onEachBench(b, func(b *testing.B, f *fixture) {
				items := benchItems(1000)
				for i := range items {
					items[i] = append(items[i][:398:398], `"}`...)
				}
				var took [2]time.Duration
				var longest time.Duration
				other := f.secondHandle(b)
				for b.Loop() {
					for i, n := range growth() {
						b.StopTimer()
						s := f.Session(fmt.Sprint("of ", n))
						for range n / len(items) {
							add(b, s, items...)
						}
						if f.dialect == PostgreSQL {
							// The server does this by itself, a minute after
							// such a load.
							f.exec(b, "VACUUM ANALYZE {messages}")
						}
						stop := addMeanwhile(b, other.Session(s.SessionID()), other.Session("another"))
						b.StartTimer()
						start := time.Now()
						changed, err := s.RewriteItems(b.Context(), 1, func(stored []Item) ([]Item, bool) {
							return slices.Repeat([]Item{new}, len(stored)), true
						})
						took[i] += time.Since(start)
						b.StopTimer()
						longest = max(longest, stop())
						require.NoError(b, err)
						require.GreaterOrEqual(b, changed, n)
						require.NoError(b, s.ClearSession(b.Context()))
						b.StartTimer()
					}
				}
				b.ReportMetric(took[0].Seconds()/float64(b.N), "10k-s")
				b.ReportMetric(took[1].Seconds()/float64(b.N), "100k-s")
				b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "x-10k")
				b.ReportMetric(float64(longest.Milliseconds()), "longest-ms")
			})
		})
	}
}

// addMeanwhile is another client, which adds to sessions in turns. stop ends it
// and returns the time of its longest call.
func addMeanwhile(b *testing.B, sessions ...*Session) (stop func() time.Duration) {
	done, ended := make(chan struct{}), make(chan time.Duration)
	go func() {
		var longest time.Duration
		for {
			for _, s := range sessions {
				select {
				case <-done:
					ended <- longest
					return
				case <-time.After(2 * time.Millisecond):
				}
				start := time.Now()
				if err := s.AddItems(b.Context(), Item(`{"n": 1}`)); err != nil {
					b.Error(err)
				}
				longest = max(longest, time.Since(start))
			}
		}
	}()
	return func() time.Duration {
		close(done)
		return <-ended
	}
}

// BenchmarkRekey moves a session of 20,000 items to another key, while another
// client adds to two others. The metric longest-ms is the time of the longest of
// its calls. RewriteItems alone, as in BenchmarkRewrite, keeps others waiting for
// longer: it does not pause between two batches.
func BenchmarkRekey(b *testing.B) {
	older, current := fleetKey(b), fleetKey(b)
	thousands := 20
	if testing.Short() {
		thousands = 1
	}
	onEachBench(b, func(b *testing.B, f *fixture) {
		before, err := encsession.New(f.Session("s"), older, encsession.WithTTL(encsession.NoExpiry))
		require.NoError(b, err)
		for range thousands {
			add(b, before, benchItems(1000)...)
		}
		other := f.secondHandle(b)
		stop := addMeanwhile(b, other.Session("s2"), other.Session("another"))
		keys := encsession.Keyring{Current: current, Older: []encsession.Key{older}}
		s, err := encsession.New(f.Session("s"), keys, encsession.WithTTL(encsession.NoExpiry))
		require.NoError(b, err)
		changed := 0
		for b.Loop() { // only the first time has something to change
			n, err := s.Rekey(b.Context())
			require.NoError(b, err)
			changed += n
		}
		longest := stop()
		require.Equal(b, 1000*thousands, changed)
		b.ReportMetric(float64(longest.Milliseconds()), "longest-ms")
	})
}

// BenchmarkRewritePop pops by PopItem, and by a pass that ends after its first
// item, in turns. The metric x-pop is the quotient.
func BenchmarkRewritePop(b *testing.B) {
	onEachBench(b, func(b *testing.B, f *fixture) {
		s := f.Session("s")
		add(b, s, benchItems(1000)...)
		item := benchItems(2)
		var pop, pass time.Duration
		for b.Loop() {
			require.NoError(b, s.AddItems(b.Context(), item...))
			start := time.Now()
			_, err := s.PopItem(b.Context())
			between := time.Now()
			require.NoError(b, err)
			changed, err := s.RewriteItems(b.Context(), 1, func([]Item) ([]Item, bool) { return []Item{nil}, false })
			pop += between.Sub(start)
			pass += time.Since(between)
			require.NoError(b, err)
			require.Equal(b, 1, changed)
		}
		b.ReportMetric(float64(pop.Nanoseconds())/float64(b.N), "pop-ns")
		b.ReportMetric(float64(pass)/float64(pop), "x-pop")
	})
}

// growth returns the numbers of items that a benchmark compares. Under -short
// they are a tenth of that: CI runs every benchmark once in that mode.
func growth() []int {
	if testing.Short() {
		return []int{1_000, 10_000}
	}
	return []int{10_000, 100_000}
}
