package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestContention has four processes open one new database at once, with a
// default configuration. Each of them adds 120 times and pops 80 times. No call
// fails, and no item is lost or there twice.
func TestContention(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, tablesOf{name: "made by the children", ddl: []string{}})
		var outputs [4]bytes.Buffer
		var children [4]*exec.Cmd
		for i := range children {
			children[i] = f.child(t, "mix", "shared", i)
			children[i].Stdout = &outputs[i]
			require.NoError(t, children[i].Start())
		}
		for _, child := range children {
			require.NoError(t, child.Wait())
		}
		var added, popped []string
		for i := range outputs {
			for line := range strings.Lines(outputs[i].String()) {
				if text := strings.TrimSpace(line); text[0] == '+' {
					added = append(added, text[1:])
				} else {
					popped = append(popped, text[1:])
				}
			}
		}
		require.Len(t, added, 4*120)
		rest, err := f.Session("shared").GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.ElementsMatch(t, added, append(popped, texts(rest)...))
		t.Logf("%d popped, %d left", len(popped), len(rest))
	})
}

// TestEveryConnection looks at connections that the pool has just opened. Each
// is in WAL mode, and waits for locks once another client has been in the way.
func TestEveryConnection(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		var open func(n int) error
		open = func(n int) error {
			attempt := 0
			return f.onConnection(t.Context(), func(conn *sql.Conn) error {
				var timeout int
				var mode string
				require.NoError(t, conn.QueryRowContext(t.Context(), "PRAGMA busy_timeout").Scan(&timeout))
				require.NoError(t, conn.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode))
				require.Equal(t, "wal", mode)
				if attempt++; attempt == 1 {
					return busyError{}
				}
				require.GreaterOrEqual(t, timeout, 5000)
				if n == 1 {
					require.Equal(t, 8, f.db.Stats().InUse)
					return nil
				}
				return open(n - 1)
			})
		}
		require.NoError(t, open(8))
	}, SQLite)
}

// busyError is the error of SQLite that another client is in the way.
type busyError struct{}

func (busyError) Error() string { return "database is locked" }

func (busyError) Code() int { return sqliteBusy }

// TestLongerBusyTimeoutIsKept sets a longer timeout than the store would.
func TestLongerBusyTimeoutIsKept(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		f.db.SetMaxOpenConns(1)
		f.exec(t, "PRAGMA busy_timeout = 12345")
		add(t, f.Session("s"), numbered(1, 1)...)
		require.Equal(t, 12345, f.count(t, "PRAGMA busy_timeout"))
	}, SQLite)
}

// TestOrderUnderConcurrency has writers add batches to one session. Each batch
// stays together and in order, and the batches of one writer keep their order.
func TestOrderUnderConcurrency(t *testing.T) {
	const writers, batches, size = 6, 12, 7
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			f := newFixture(t, b, by)
			var group sync.WaitGroup
			for writer := range writers {
				group.Go(func() {
					s := f.Session("shared")
					for batch := range batches {
						first := 1_000_000*(writer+1) + 1000*batch
						if err := s.AddItems(t.Context(), numbered(first, first+size-1)...); err != nil {
							t.Errorf("AddItems: %v", err)
						}
					}
				})
			}
			group.Wait()
			items, err := f.Session("shared").GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, items, writers*batches*size)
			next := map[int]int{} // the next batch of each writer
			for batch := range slices.Chunk(items, size) {
				first := number(t, batch[0])
				require.Equal(t, texts(numbered(first, first+size-1)), texts(batch))
				writer := first / 1_000_000
				require.Equal(t, 1_000_000*writer+1000*next[writer], first)
				next[writer]++
			}
		}
	})
}

// TestContextEndsWaiting cancels calls that wait for another client's
// transaction. They change nothing, and leave nothing behind on their
// connection.
func TestContextEndsWaiting(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		s := f.Session("s")
		add(t, s, numbered(1, 3)...)
		for name, call := range map[string]func(context.Context) error{
			"AddItems":     func(ctx context.Context) error { return s.AddItems(ctx, numbered(4, 4)...) },
			"PopItem":      func(ctx context.Context) error { _, err := s.PopItem(ctx); return err },
			"ClearSession": s.ClearSession,
			"RewriteItems": func(ctx context.Context) error {
				_, err := s.RewriteItems(ctx, 3, func([]Item) ([]Item, bool) { return make([]Item, 3), true })
				return err
			},
		} {
			other, err := f.db.Conn(t.Context())
			require.NoError(t, err)
			require.NoError(t, f.tables.exec(t.Context(), other, f.database.begin()...))
			_, err = other.ExecContext(t.Context(), f.tables.fill(f.database.upsert()), "s")
			require.NoError(t, err)

			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error)
			go func() { result <- call(ctx) }()
			require.Eventually(t, func() bool { return f.db.Stats().InUse == 2 }, 10*time.Second, time.Millisecond)
			cancel()
			// mattn/go-sqlite3 does not end the wait by itself.
			_, err = other.ExecContext(t.Context(), "ROLLBACK")
			require.NoError(t, err)
			require.NoError(t, other.Close())
			require.ErrorIs(t, <-result, context.Canceled, name)
			requireItems(t, s, numbered(1, 3)...)
		}
		add(t, s, numbered(4, 4)...)
		requireItems(t, s, numbered(1, 4)...)
	})
}

// TestCancelledInMemory ends calls at many moments. A database in memory must
// outlive them, because it would be lost with its connection.
func TestCancelledInMemory(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		db := b.open(t, ":memory:")
		db.SetMaxOpenConns(1)
		store, err := New(db, SQLite)
		require.NoError(t, err)
		require.NoError(t, store.CreateTables(t.Context()))
		s := store.Session("s")
		want := numbered(1, 1)
		add(t, s, want...)
		batch := numbered(2, 2000)
		cancelled := 0 // of 60 calls
		for range 60 {
			ctx, cancel := context.WithTimeout(t.Context(), rand.N(10*time.Millisecond))
			if err := s.AddItems(ctx, batch...); err == nil {
				want = append(want, batch...)
			} else {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				cancelled++
			}
			cancel()
		}
		t.Logf("%d of 60 calls were cancelled", cancelled)
		requireItems(t, s, want...)
	}, SQLite)
}
