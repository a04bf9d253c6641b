package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// rewrite makes a pass that must succeed. It returns the number of items that
// it has changed.
func rewrite(t testing.TB, s encsession.Rewriter, first int, edit func(stored []Item) ([]Item, bool)) int {
	t.Helper()
	changed, err := s.RewriteItems(t.Context(), first, edit)
	require.NoError(t, err)
	return changed
}

// each turns a function for one item into an edit for a whole pass.
func each(f func(Item) Item) func([]Item) ([]Item, bool) {
	return func(stored []Item) ([]Item, bool) {
		new := make([]Item, len(stored))
		for i, item := range stored {
			new[i] = f(item)
		}
		return new, true
	}
}

func remove(Item) Item { return nil }

// passed returns the items that go to edit, oldest first, and the sizes of the
// batches.
func passed(t testing.TB, s encsession.Rewriter, first int) (items []Item, sizes []int) {
	t.Helper()
	require.Zero(t, rewrite(t, s, first, func(stored []Item) ([]Item, bool) {
		items, sizes = append(items, stored...), append(sizes, len(stored))
		return nil, true
	}))
	slices.Reverse(items)
	return items, sizes
}

// TestRewriteThousandsOfItems has several batches of the largest size, and an
// odd rest.
func TestRewriteThousandsOfItems(t *testing.T) {
	const n = 3_000
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		add(t, s, numbered(1, n)...)
		rows := func() []string { return f.strings(t, "SELECT "+f.rowText()+" FROM {messages} ORDER BY id") }
		before := rows()
		require.Equal(t, n, rewrite(t, s, 1, each(func(item Item) Item { return numbered(number(t, item)+n, number(t, item)+n)[0] })))
		requireItems(t, s, numbered(n+1, 2*n)...)
		require.Equal(t, before, rows(), "IDs and times stay")

		// One in three is removed, one left alone, one replaced.
		want := []Item{}
		for _, item := range numbered(n+1, 2*n) {
			switch n := number(t, item); n % 3 {
			case 1:
				want = append(want, item)
			case 2:
				want = append(want, numbered(-n, -n)[0])
			}
		}
		require.Equal(t, n-n/3, rewrite(t, s, 1, each(func(item Item) Item {
			switch n := number(t, item); n % 3 {
			case 1:
				return bytes.Clone(item)
			case 2:
				return numbered(-n, -n)[0]
			}
			return nil
		})))
		requireItems(t, s, want...)
		require.Equal(t, len(want), rewrite(t, s, 1, each(remove)))
		requireItems(t, s)
	})
}

// rowText returns an expression for the parts of a row that RewriteItems must
// keep.
func (f *fixture) rowText() string {
	if f.dialect == MySQL {
		return "CONCAT(id, ' ', created_at)"
	}
	return "id || ' ' || created_at"
}

func TestRewriteBatchesDoubleUpToAThousandItemsOrAMebibyte(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		_, sizes := passed(t, s, 1)
		require.Empty(t, sizes)
		add(t, s, numbered(1, 3500)...)
		for first, want := range map[int][]int{
			-1:    {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 477},
			700:   {700, 1000, 1000, 800},
			5000:  {1000, 1000, 1000, 500},
			3:     {3, 6, 12, 24, 48, 96, 192, 384, 768, 1000, 967},
			1_750: {1000, 1000, 1000, 500},
		} {
			items, sizes := passed(t, s, first)
			require.Equal(t, want, sizes)
			require.Equal(t, texts(numbered(1, 3500)), texts(items))
		}

		big := []Item{}
		for range 12 {
			big = append(big, Item(`{"text": "`+strings.Repeat("x", 300_000)+`"}`))
		}
		huge := Item(`{"text": "` + strings.Repeat("x", 2<<20) + `"}`)
		add(t, f.Session("big"), append(big, huge)...)
		_, sizes = passed(t, f.Session("big"), 100)
		require.Equal(t, []int{1, 4, 4, 4}, sizes)
	})
}

// TestRewritePassesOverRowsThatAreNotJSON has more of those rows than items.
// Edit still gets no more than first items.
func TestRewritePassesOverRowsThatAreNotJSON(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			f := newFixture(t, b, by)
			s := f.Session("s")
			for _, item := range numbered(1, 9) {
				add(t, s, item)
				for range 3 {
					for _, data := range strange {
						f.insertRow(t, "s", data)
					}
				}
			}
			items, sizes := passed(t, s, 1)
			require.Equal(t, texts(numbered(1, 9)), texts(items))
			require.Equal(t, 1, sizes[0])
			require.Equal(t, 9, rewrite(t, s, 2, each(remove)))
			require.Equal(t, 9*3*len(strange), f.count(t, "SELECT COUNT(*) FROM {messages}"), "rows of others are left alone")
			_, sizes = passed(t, s, 1)
			require.Empty(t, sizes)

			add(t, f.Session("below"), numbered(1, 9)...)
			for range 20 {
				f.insertRow(t, "below", "text")
			}
			_, sizes = passed(t, f.Session("below"), 1)
			require.Equal(t, []int{1, 2, 4, 2}, sizes)
		}
	})
}

// nullable returns tables of Python whose created_at may be NULL.
func nullable(b backend) []tablesOf {
	var changed []tablesOf
	for _, by := range madeByPython[b.dialect] {
		changed = append(changed,
			withCollation(by, "created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", "created_at TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6)"),
			withCollation(by, "created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", "created_at DATETIME(3) NULL DEFAULT CURRENT_TIMESTAMP(3)"))
		if b.dialect != MySQL {
			changed = append(changed[:len(changed)-2],
				withCollation(by, "DEFAULT CURRENT_TIMESTAMP NOT NULL", "DEFAULT CURRENT_TIMESTAMP"))
		}
		if b.dialect == PostgreSQL {
			changed = append(changed, withCollation(changed[0], "TIMESTAMP WITHOUT TIME ZONE", "TIMESTAMP WITH TIME ZONE"))
		}
	}
	return changed
}

// TestRewriteComesToEachRowOnceWhateverItsTime has rows with the same time,
// with fractions of a second, without a time, and in an order other than that
// of their IDs.
func TestRewriteComesToEachRowOnceWhateverItsTime(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		times := []any{
			"2020-01-01 00:00:02", "2020-01-01 00:00:01", "2020-01-01 00:00:02", "2020-01-01 00:00:03",
			"2020-01-01 00:00:02.123457", "2020-01-01 00:00:02.123456", "2020-01-01 00:00:02.999999", "2020-10-25 02:30:00",
		}
		if b.dialect == SQLite {
			times = append(times, 1_700_000_000, 1_700_000_000.1234567, 1_700_000_000.1234569, "", "not a time", "Ä", []byte{0, 1}, []byte("2020-01-01 00:00:02"))
		}
		for _, by := range slices.Concat([]tablesOf{ours}, madeByPython[b.dialect], nullable(b)) {
			if b.dialect == PostgreSQL && by.name == ours.name {
				times = append(times, "infinity", "-infinity", "0044-03-15 12:00:00 BC")
			}
			t.Run(by.name, func(t *testing.T) {
				f := newFixture(t, b, by)
				f.insertRow(t, "other", `{"n": 0}`)
				all := slices.Concat(times, times)
				if strings.Contains(by.name, "NULL") != strings.Contains(by.name, "NOT NULL") || by.name == bySQLiteSession.name || strings.HasSuffix(by.name, "DEFAULT CURRENT_TIMESTAMP") || strings.HasSuffix(by.name, "TIME ZONE") {
					all = slices.Concat([]any{nil, nil}, all, []any{nil}, all, []any{nil, nil})
				}
				f.exec(t, f.database.upsert(), "s")
				for n, created := range all {
					f.exec(t, "INSERT INTO {messages} (session_id, message_data, created_at) VALUES (?, ?, ?)", "s", fmt.Sprintf(`{"n": %d}`, n), created)
				}
				s := f.Session("s")
				want, err := s.GetItems(t.Context(), 0)
				require.NoError(t, err)
				require.Len(t, want, len(all))
				for first := 1; first <= len(all)+1; first++ {
					items, _ := passed(t, s, first)
					require.Equal(t, texts(want), texts(items), "first is %d", first)
				}

				// The last row of a page is gone when the next page is read.
				var gone []Item
				require.Equal(t, len(all), rewrite(t, s, 1, func(stored []Item) ([]Item, bool) {
					gone = append(gone, stored...)
					return make([]Item, len(stored)), true
				}))
				slices.Reverse(gone)
				require.Equal(t, texts(want), texts(gone))
				requireItems(t, s)
				requireItems(t, f.Session("other"), numbered(0, 0)...)
			})
		}
	})
}

// TestRewriteInTheHourThatComesTwice has the server tell times in a zone with
// daylight saving.
func TestRewriteInTheHourThatComesTwice(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixtureAt(t, b, b.dsn(t)+"?time_zone=%27%2B00%3A00%27", ours)
		if f.count(t, "SELECT CONVERT_TZ('2020-01-01', '+00:00', 'Europe/Berlin') IS NULL") == 1 {
			t.Skip("the server does not know the zone Europe/Berlin")
		}
		f.exec(t, f.database.upsert(), "s")
		for n := range 12 { // from 02:00 in summer time to 02:50 in winter time
			f.exec(t, "INSERT INTO {messages} (session_id, message_data, created_at) VALUES ('s', ?, ?)",
				fmt.Sprintf(`{"n": %d}`, n+1), fmt.Sprintf("2026-10-25 %02d:%02d:00", n/6, n%6*10))
		}
		db := b.open(t, b.dsn(t)+"?time_zone=%27Europe%2FBerlin%27")
		db.SetMaxOpenConns(1)
		store, err := New(db, MySQL, WithTables(f.sessions, f.messages))
		require.NoError(t, err)
		for first := range 12 {
			items, _ := passed(t, store.Session("s"), first)
			require.Equal(t, texts(numbered(1, 12)), texts(items))
		}
		times := func() []string { return f.strings(t, "SELECT created_at FROM {messages} ORDER BY id") }
		before := times()
		require.Equal(t, 12, rewrite(t, store.Session("s"), 12, each(func(Item) Item { return numbered(0, 0)[0] })))
		require.Equal(t, before, times())
		var zone string
		require.NoError(t, db.QueryRow("SELECT @@time_zone").Scan(&zone))
		require.Equal(t, "Europe/Berlin", zone, "the connection is as it was")
	}, MySQL)
}

// TestRewriteDoesNotComeToItemsThatAreAddedLater adds items in each edit. Some
// of them have old times, and so places that the pass has yet to reach.
func TestRewriteDoesNotComeToItemsThatAreAddedLater(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range slices.Concat([]tablesOf{ours}, madeByPython[b.dialect], nullable(b)) {
			t.Run(by.name, func(t *testing.T) {
				f := newFixture(t, b, by)
				s := f.Session("s")
				add(t, s, numbered(1, 20)...)
				f.exec(t, "UPDATE {messages} SET created_at = '2020-01-02 00:00:00' WHERE id IN (SELECT id FROM (SELECT id FROM {messages} WHERE message_data > '{\"n\": 15}') AS newer)")
				var seen []Item
				n := 100
				require.Equal(t, 20, rewrite(t, s, 1, func(stored []Item) ([]Item, bool) {
					seen = append(seen, stored...)
					require.Less(t, n, 120, "the pass does not end")
					n++
					add(t, s, numbered(n, n)...)
					f.exec(t, "INSERT INTO {messages} (session_id, message_data, created_at) VALUES ('s', ?, '2020-01-01 00:00:00')", fmt.Sprintf(`{"n": %d}`, n))
					return make([]Item, len(stored)), true
				}))
				require.ElementsMatch(t, texts(numbered(1, 20)), texts(seen))
				require.Equal(t, 2*(n-100), f.count(t, "SELECT COUNT(*) FROM {messages}"))
			})
		}
	})
}

// TestRewriteHoldsNothingWhileEditRuns uses the only connection there is.
func TestRewriteHoldsNothingWhileEditRuns(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		f.db.SetMaxOpenConns(1)
		s := f.Session("s")
		add(t, s, numbered(1, 5)...)
		require.Equal(t, 5, rewrite(t, s, 2, func(stored []Item) ([]Item, bool) {
			require.Zero(t, f.db.Stats().InUse)
			add(t, s, numbered(6, 6)...)
			require.Equal(t, `{"n": 6}`, string(pop(t, s)))
			if len(stored) == 2 {
				require.Equal(t, 1, rewrite(t, s, 1, func(stored []Item) ([]Item, bool) { return numbered(7, 7), false }))
				// The first of them no longer holds the bytes that edit saw.
				return []Item{nil, nil}, true
			}
			return make([]Item, len(stored)), true
		})+1)
		requireItems(t, s, numbered(7, 7)...)
	})
}

// TestRewriteLeavesAloneWhatOthersHaveChanged has rows that a collation treats
// as equal. RewriteItems must compare their bytes.
func TestRewriteLeavesAloneWhatOthersHaveChanged(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			f := newFixture(t, b, by)
			s := f.Session("s")
			items := []Item{Item(`"alice"`), Item(`"alice"`), Item(`"ALICE"`), Item(`"x" `), Item(`1`), Item(`2`), Item(`3`)}
			for _, remove := range []bool{false, true} {
				require.NoError(t, s.ClearSession(t.Context()))
				add(t, s, items...)
				changed := rewrite(t, s, len(items), func(stored []Item) ([]Item, bool) {
					data := f.database.bytes("message_data")
					f.exec(t, "UPDATE {messages} SET message_data = ? WHERE "+data+" = ?", `"Alice"`, `"ALICE"`)
					f.exec(t, "UPDATE {messages} SET message_data = ? WHERE "+data+" = ? AND id NOT IN (SELECT id FROM (SELECT MIN(id) AS id FROM {messages}) AS oldest)",
						`"Alice"`, `"alice"`)
					f.exec(t, "UPDATE {messages} SET message_data = ? WHERE "+data+" = ?", `"x"`, `"x" `)
					f.exec(t, `DELETE FROM {messages} WHERE message_data = '1'`)
					f.insertRow(t, "s", `1`) // another row
					if remove {
						return make([]Item, len(stored)), true
					}
					return []Item{Item("30"), nil, Item("10"), Item(`"y"`), nil, Item(`"bob"`), Item(`"bob"`)}, true
				})
				require.Equal(t, 3, changed)
				if remove {
					requireItems(t, s, Item(`"Alice"`), Item(`"Alice"`), Item(`"x"`), Item(`1`))
				} else {
					requireItems(t, s, Item(`"bob"`), Item(`"Alice"`), Item(`"Alice"`), Item(`"x"`), Item("30"), Item("1"))
				}
			}
		}
	})
}

// TestRewriteCountsTheSameWhateverTheServerCounts has MySQL count the rows that
// it has found, or those that it has changed.
func TestRewriteCountsTheSameWhateverTheServerCounts(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, parameter := range []string{"?clientFoundRows=true", "?clientFoundRows=false", "?interpolateParams=true"} {
			f := newFixtureAt(t, b, b.dsn(t)+parameter, ours)
			s := f.Session("s")
			add(t, s, numbered(1, 6)...)
			require.Equal(t, 3, rewrite(t, s, 10, func(stored []Item) ([]Item, bool) {
				require.Equal(t, `{"n": 6}`, string(pop(t, s)))
				return []Item{numbered(7, 7)[0], stored[1], numbered(4, 4)[0], nil, numbered(5, 5)[0], bytes.ToUpper(stored[5])}, true
			}))
			requireItems(t, s, Item(`{"N": 1}`), numbered(5, 5)[0], numbered(4, 4)[0], numbered(5, 5)[0])
		}
	}, MySQL)
}

func TestRewriteRefusesWhatEditReturns(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		_, err := s.RewriteItems(t.Context(), 1, nil)
		require.EqualError(t, err, "sqlstore: RewriteItems: edit is nil")
		for want, new := range map[string][]Item{
			"edit returned 1 items for a batch of 4":                        numbered(1, 1),
			"edit returned 0 items for a batch of 4":                        {},
			"edit: item 2 of a batch: it is not JSON in valid UTF-8":        {nil, numbered(9, 9)[0], Item("{"), nil},
			"edit: item 3 of a batch: it is not JSON in valid UTF-8":        {nil, nil, nil, Item{}},
			"edit: item 0 of a batch: it is not JSON in valid UTF-8":        {Item("\"\xff\""), nil, nil, nil},
			"edit: item 1 of a batch: it is not JSON in valid UTF-8":        {nil, Item("{} {}"), nil, nil},
			"edit: item 1 of a batch: the database cannot hold it: it has ": {nil, Item(`"` + strings.Repeat("x", 70_000) + `"`), nil, nil},
		} {
			require.NoError(t, s.ClearSession(t.Context()))
			add(t, s, numbered(1, 6)...)
			if strings.Contains(want, "hold") {
				if b.dialect != MySQL {
					continue
				}
				f := newFixture(t, b, withCollation(forSQLAlchemyOnMySQL("utf8mb4", "utf8mb4_bin"), "LONGTEXT", "TEXT"))
				s = f.Session("s")
				add(t, s, numbered(1, 6)...)
			}
			var batches int
			changed, err := s.RewriteItems(t.Context(), 2, func(stored []Item) ([]Item, bool) {
				if batches++; batches == 1 {
					return []Item{nil, numbered(7, 7)[0]}, true
				}
				require.Len(t, stored, 4)
				return new, true
			})
			require.ErrorContains(t, err, "sqlstore: RewriteItems: "+want)
			require.Equal(t, 2, changed, "the batch before stays changed")
			require.Equal(t, 2, batches)
			requireItems(t, s, append(numbered(1, 4), numbered(7, 7)...)...)
		}
	})
}

// TestRewriteOfABatchIsOneStep has the database refuse the last row that a
// batch changes.
func TestRewriteOfABatchIsOneStep(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		if b.dialect == SQLite {
			f.exec(t, `CREATE TRIGGER refuse BEFORE UPDATE ON {messages} WHEN NEW.message_data = '{"n": 9900}'
				BEGIN SELECT RAISE(ABORT, 'refused'); END`)
		} else {
			f.exec(t, `ALTER TABLE {messages} ADD CONSTRAINT refuse CHECK (message_data <> '{"n": 9900}')`)
		}
		s := f.Session("s")
		add(t, s, numbered(1, 1500)...)
		changed, err := s.RewriteItems(t.Context(), 500, each(func(item Item) Item {
			n := number(t, item)
			if n%2 == 1 {
				return nil
			}
			return Item(fmt.Sprintf(`{"n": %d}`, 9000+n))
		}))
		require.ErrorContains(t, err, "sqlstore: RewriteItems: ")
		require.NotContains(t, err.Error(), `"n"`)
		require.Equal(t, 500, changed)
		items, err := s.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, texts(numbered(1, 1000)), texts(items[:1000]))
		require.Len(t, items, 1250)
	})
}

func TestRewriteLooksAtTheContext(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for name, new := range map[string]func(n int) []Item{
			"nothing":  func(int) []Item { return nil },
			"removals": func(n int) []Item { return make([]Item, n) },
		} {
			f := newFixture(t, b, ours)
			s := f.Session("s")
			add(t, s, numbered(1, 6)...)
			ctx, cancel := context.WithCancel(t.Context())
			batches := 0
			changed, err := s.RewriteItems(ctx, 2, func(stored []Item) ([]Item, bool) {
				if batches++; batches == 2 {
					cancel()
				}
				// The pass ends here, so only the check after edit can find the
				// cancellation.
				return new(len(stored)), batches == 1
			})
			require.ErrorIs(t, err, context.Canceled, name)
			require.Equal(t, 2, batches)
			if name == "nothing" {
				require.Zero(t, changed)
				requireItems(t, s, numbered(1, 6)...)
			} else {
				require.Equal(t, 2, changed)
				requireItems(t, s, numbered(1, 4)...)
			}
		}
	})
}

// TestRewriteToOnePopper pops from many goroutines at once, by RewriteItems and
// by PopItem.
func TestRewriteToOnePopper(t *testing.T) {
	const poppers, items = 6, 120
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		add(t, f.Session("s"), numbered(1, items)...)
		var mu sync.Mutex
		var popped []Item
		var group sync.WaitGroup
		for n := range poppers {
			group.Go(func() {
				s := f.Session("s")
				for {
					var got Item
					changed, err := 1, error(nil)
					if n%3 == 0 {
						got, err = s.PopItem(t.Context())
					} else {
						changed, err = s.RewriteItems(t.Context(), 1, func(stored []Item) ([]Item, bool) {
							got = stored[0]
							return []Item{nil}, false
						})
					}
					if err != nil {
						t.Errorf("%v", err)
						return
					}
					if got == nil {
						return
					}
					if changed == 1 {
						mu.Lock()
						popped = append(popped, got)
						mu.Unlock()
					}
				}
			})
		}
		group.Wait()
		require.ElementsMatch(t, texts(numbered(1, items)), texts(popped))
	})
}

// TestRewriteOfRowsOfOtherTypes has values that only SQLite can hold in a
// column of text.
func TestRewriteOfRowsOfOtherTypes(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, tablesOf{ddl: []string{
			"CREATE TABLE {sessions} (session_id TEXT PRIMARY KEY, updated_at TIMESTAMP)",
			"CREATE TABLE {messages} (id INTEGER PRIMARY KEY, session_id TEXT, message_data)",
		}})
		s := f.Session("s")
		add(t, s, numbered(1, 1)...)
		f.exec(t, `INSERT INTO {messages} (session_id, message_data) VALUES ('s', NULL), ('s', x'ff00'), ('s', x'7b7d'), ('s', x'5b5d')`)
		require.Equal(t, 2, rewrite(t, s, 1, each(func(item Item) Item {
			return map[string]Item{"{}": nil, "[]": Item("[1]"), `{"n": 1}`: item}[string(item)]
		})))
		requireItems(t, s, Item(`{"n": 1}`), Item("[1]"))
		require.Equal(t, 2, rewrite(t, s, 2, each(remove)))
		require.Equal(t, 2, f.count(t, "SELECT COUNT(*) FROM {messages}"))
	}, SQLite)
}

// TestRewriteKeepsTimesThatUpdatesSet has a table whose times an UPDATE sets,
// unless it is told not to.
func TestRewriteKeepsTimesThatUpdatesSet(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, withCollation(inGeneralCI, "DEFAULT CURRENT_TIMESTAMP", "DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"))
		s := f.Session("s")
		add(t, s, numbered(1, 3)...)
		f.exec(t, "UPDATE {messages} SET created_at = '2020-01-01 00:00:00'")
		require.Equal(t, 1, rewrite(t, s, 3, func(stored []Item) ([]Item, bool) { return []Item{stored[0], numbered(7, 7)[0], stored[2]}, true }))
		require.Equal(t, 3, f.count(t, "SELECT COUNT(*) FROM {messages} WHERE created_at = '2020-01-01 00:00:00'"))
		requireItems(t, s, numbered(1, 1)[0], numbered(7, 7)[0], numbered(3, 3)[0])
	}, MySQL)
}

// TestRewriteSparesAnotherSession has another session take over the ID of a
// row. SQLite reuses IDs in tables without AUTOINCREMENT.
func TestRewriteSparesAnotherSession(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, sqliteTables("TEXT", "TEXT"))
		add(t, f.Session("a"), numbered(1, 2)...)
		for _, new := range []Item{nil, Item("3")} {
			require.Zero(t, rewrite(t, f.Session("a"), 1, func(stored []Item) ([]Item, bool) {
				require.Equal(t, string(stored[0]), string(pop(t, f.Session("a"))))
				add(t, f.Session("b"), stored...)
				require.Equal(t, 2, f.count(t, "SELECT MAX(id) FROM {messages} WHERE session_id = 'b'"))
				return []Item{new}, false
			}))
			requireItems(t, f.Session("b"), numbered(2, 2)...)
			pop(t, f.Session("b"))
			add(t, f.Session("a"), numbered(2, 2)...)
		}
	}, SQLite)
}

// TestRewriteOfLargeItems replaces and removes an item of the largest size that
// the server takes, and one of half that size. The old item and the new one
// together do not fit into a packet.
func TestRewriteOfLargeItems(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		largest := f.count(t, "SELECT @@max_allowed_packet") - 4096 - 2
		for _, size := range []int{largest/2 + 4096, largest} {
			large := func(c string) Item { return Item(`"` + strings.Repeat(c, size) + `"`) }
			add(t, s, large("a"))
			require.Equal(t, 1, rewrite(t, s, 1, each(func(Item) Item { return large("b") })))
			require.True(t, bytes.Equal(large("b"), pop(t, s)))
			add(t, s, large("a"))
			require.Equal(t, 1, rewrite(t, s, 1, each(remove)))
			requireItems(t, s)
		}
	}, MySQL)
}

// onServerWithARow calls f with a session that holds one item. The commits of
// its server fail with the given errors.
func onServerWithARow(t *testing.T, commits []error, f func(*testing.T, *fakeServer, *Session)) {
	onFakeServer(t, func(statement string) error {
		if statement != "COMMIT" || len(commits) == 0 {
			return nil
		}
		err := commits[0]
		commits = commits[1:]
		return err
	}, func(t *testing.T, server *fakeServer, s *Session) {
		server.row = []driver.Value{int64(1), []byte("{}"), nil, int64(1)}
		s.store.found.Store(&layout{ids: []column{{}}, parts: []part{byID("")}})
		f(t, server, s)
	})
}

// TestRewriteRetriesTheSwapAlone has conflicts with other clients.
func TestRewriteRetriesTheSwapAlone(t *testing.T) {
	conflict := &pgconn.PgError{Code: "40001"}
	onServerWithARow(t, []error{conflict, conflict}, func(t *testing.T, server *fakeServer, s *Session) {
		edits := 0
		require.Equal(t, 1, rewrite(t, s, 1, func([]Item) ([]Item, bool) {
			edits++
			return []Item{nil}, false
		}))
		require.Equal(t, 1, edits)
		swap := []string{"BEGIN", "DELETE", "COMMIT"}
		retried := append(swap, "ROLLBACK")
		require.Equal(t, slices.Concat([]string{"SELECT"}, retried, retried, swap), server.statements)
	})
}

// TestRewriteDoesNotRetryWhatMayBeCommitted loses the connection while a commit
// is under way.
func TestRewriteDoesNotRetryWhatMayBeCommitted(t *testing.T) {
	lost := errors.New("connection reset by peer")
	for _, new := range []Item{nil, Item("1")} {
		onServerWithARow(t, []error{&pgconn.PgError{Code: "40001"}, lost}, func(t *testing.T, server *fakeServer, s *Session) {
			changed, err := s.RewriteItems(t.Context(), 1, func([]Item) ([]Item, bool) { return []Item{new}, true })
			require.ErrorIs(t, err, lost)
			require.Zero(t, changed)
			require.Len(t, server.statements, 9)
		})
	}
}

// TestKilledRewrite kills a process in the middle of a pass. Every item is
// there once, and in its place.
func TestKilledRewrite(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		const n = 3000
		f := newFixture(t, b, ours)
		midway := 0
		for round := range 2 {
			s := f.Session(fmt.Sprint("killed-", round))
			add(t, s, numbered(1, n)...)
			killAfterALine(t, f.child(t, "rewrite", s.SessionID(), 0))
			rewritten := 0
			require.Equal(t, n, len(func() (items []Item) {
				items, err := s.GetItems(t.Context(), 0)
				require.NoError(t, err)
				for i, item := range items {
					if number(t, item) == -i-1 {
						rewritten++
					} else {
						require.Equal(t, i+1, number(t, item))
					}
				}
				return items
			}()))
			require.GreaterOrEqual(t, rewritten, 500)
			if rewritten < n {
				midway++
			}
			require.Equal(t, n-rewritten, rewrite(t, s, 1, each(negative)))
		}
		require.Positive(t, midway, "no kill came between two batches")
	})
}

// negative returns the item with its number below zero.
func negative(item Item) Item {
	var n int
	_, _ = fmt.Sscanf(string(item), `{"n": %d}`, &n)
	return numbered(min(n, -n), min(n, -n))[0]
}

// childRewrite makes a pass that replaces all items. It reports each batch when
// the next one begins.
func childRewrite(args []string) error {
	s, _, err := childSession(args)
	if err != nil {
		return err
	}
	batches := 0
	_, err = s.RewriteItems(context.Background(), 500, func(stored []Item) ([]Item, bool) {
		if batches++; batches > 1 {
			fmt.Println(batches)
			time.Sleep(20 * time.Millisecond)
		}
		new, _ := each(negative)(stored)
		return new, true
	})
	return err
}

// TestRewriteWaitsForAnotherClient has a client that deletes a row of the batch
// and commits late.
func TestRewriteWaitsForAnotherClient(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		add(t, s, numbered(1, 3)...)
		for _, items := range []int{1, 3} {
			var other *sql.Conn
			changed := rewrite(t, s, items, func(stored []Item) ([]Item, bool) {
				var err error
				other, err = f.db.Conn(t.Context())
				require.NoError(t, err)
				require.NoError(t, f.tables.exec(t.Context(), other, f.database.begin()...))
				_, err = other.ExecContext(t.Context(), f.tables.fill(`DELETE FROM {messages} WHERE message_data = ?`), string(stored[0]))
				require.NoError(t, err)
				time.AfterFunc(50*time.Millisecond, func() {
					_, err := other.ExecContext(context.WithoutCancel(t.Context()), "COMMIT")
					if err != nil {
						t.Error(err)
					}
					_ = other.Close()
				})
				new, _ := each(remove)(stored)
				return new, false
			})
			require.Equal(t, min(items-1, 1), changed)
		}
		requireItems(t, s)
	})
}
