package encsession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// underProcs runs a test with several numbers of cores.
func underProcs(t *testing.T, run func(t *testing.T)) {
	for _, procs := range []int{1, 2, 3, 8} {
		t.Run(fmt.Sprint(procs, " cores"), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			run(t)
		})
	}
}

// longItems returns different items that are worth several goroutines, if there are more than a few.
func longItems(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item(fmt.Sprintf(`{"i":%d,"content":"%s"}`, i, strings.Repeat("x", 1000)))
	}
	return items
}

func longSession(t *testing.T, store Session, opts ...Option) *EncryptedSession {
	key, err := NewKey(bytes.Repeat([]byte{1}, 32))
	require.NoError(t, err)
	session, err := New(store, key, opts...)
	require.NoError(t, err)
	return session
}

func TestWorkers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, tt := range []struct{ n, size, want int }{
		{0, 0, 1}, {1, 1 << 30, 1}, {2, 10, 1}, {1000, 1, 1}, {10, parallelBytes/10 - 1, 1},
		{2, parallelBytes, 2}, {3, parallelBytes, 3}, {2, parallelBytes / 2, 2}, {1000, 1000, 4}, {4, parallelBytes / 4, 2},
	} {
		require.Equal(t, tt.want, workersFor(tt.n, func(int) int { return tt.size }), "%d items of %d B", tt.n, tt.size)
	}
}

func TestForEach(t *testing.T) {
	for _, workers := range []int{1, 2, 7} {
		calls := make([]atomic.Int64, 100)
		require.NoError(t, forEach(t.Context(), len(calls), workers, func(i int) error {
			calls[i].Add(1)
			return nil
		}))
		for i := range calls {
			require.EqualValues(t, 1, calls[i].Load())
		}

		var begun atomic.Int64
		err := forEach(t.Context(), 1000, workers, func(i int) error {
			begun.Add(1)
			if i >= 10 {
				return fmt.Errorf("item %d", i)
			}
			return nil
		})
		require.EqualError(t, err, "item 10")
		require.LessOrEqual(t, begun.Load(), int64(10+workers))

		ctx, cancel := context.WithCancel(t.Context())
		var done atomic.Int64
		err = forEach(ctx, 1000, workers, func(i int) error {
			if i == 10 {
				cancel()
			}
			if i >= 10 {
				<-ctx.Done()
				done.Add(1)
			}
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
		require.LessOrEqual(t, done.Load(), int64(workers))
	}
}

// TestForEachOutOfOrder has one of two goroutines be late with item 10 or 11.
func TestForEachOutOfOrder(t *testing.T) {
	err10, err11 := errors.New("item 10"), errors.New("item 11")
	for name, tt := range map[string]struct {
		late        int
		of10, of11  error
		want        error
		wantNoneFor int // no item from here on is begun
	}{
		"10 late":          {10, err10, err11, err10, 12},
		"10 late and well": {10, nil, err11, err11, 12},
		"11 late":          {11, err10, err11, err10, 12},
		"11 late and well": {11, err10, nil, err10, 12},
		"both well":        {11, nil, nil, nil, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var last atomic.Int64
				err := forEach(t.Context(), 1000, 2, func(i int) error {
					last.Store(max(last.Load(), int64(i)))
					if i == 10 || i == 11 {
						time.Sleep(time.Second) // so that both are begun
					}
					if i == tt.late {
						time.Sleep(time.Second)
					}
					switch i {
					case 10:
						return tt.of10
					case 11:
						return tt.of11
					}
					return nil
				})
				require.Equal(t, tt.want, err)
				require.Less(t, last.Load(), int64(tt.wantNoneFor))
			})
		})
	}
}

func TestTheNumberOfCoresDoesNotShow(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		items := longItems(200)
		store := &countingStore{Session: NewMemorySession("user-123")}
		var drops []string
		session := longSession(t, store, WithoutPlaintext(), WithDropHandler(func(_ context.Context, d Drop) { drops = append(drops, d.Err.Error()) }))
		require.NoError(t, session.AddItems(t.Context(), items...))
		got, err := session.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, items, got)
		require.Empty(t, drops)

		// Unreadable items in between: the newest 150 readable ones, and a drop for what was passed over on the way, in order.
		require.NoError(t, session.ClearSession(t.Context()))
		var want []Item
		for i, item := range items {
			switch i % 4 {
			case 1:
				require.NoError(t, store.AddItems(t.Context(), item))
			case 2:
				require.NoError(t, store.AddItems(t.Context(), Item(`{"__enc__":1,"content":"`+strings.Repeat("x", 1000)+`"}`)))
			default:
				require.NoError(t, session.AddItems(t.Context(), item))
				want = append(want, item)
			}
		}
		got, err = session.GetItems(t.Context(), 50)
		require.NoError(t, err)
		require.Equal(t, want[50:], got)
		var wantDrops []string
		for position := range 99 {
			switch (199 - position) % 4 {
			case 1:
				wantDrops = append(wantDrops, fmt.Sprintf("encsession: item %d from the newest: item is not encrypted", position))
			case 2:
				wantDrops = append(wantDrops, fmt.Sprintf("encsession: item %d from the newest: item is malformed: v is not 1", position))
			}
		}
		require.Equal(t, wantDrops, drops)

		strict := longSession(t, store, WithStrictReads())
		got, err = strict.GetItems(t.Context(), 0)
		require.Nil(t, got)
		require.ErrorContains(t, err, "encsession: GetItems: item 1 from the newest: ")

		// The first of several invalid items is the error, and nothing is stored.
		items[150], items[50], items[51] = Item(`1`), Item(`2`), Item(`3`)
		err = session.AddItems(t.Context(), items...)
		require.ErrorIs(t, err, ErrInvalidItem)
		require.ErrorContains(t, err, "encsession: AddItems: item 50: ")
		stored, err := store.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, stored, 200)
	})
}

// cancelledAfter is a context that is cancelled when it has been asked a number of times.
type cancelledAfter struct {
	context.Context
	left atomic.Int64
}

func (c *cancelledAfter) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

func TestACancelledContextStopsWorkSoon(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		store := &countingStore{Session: NewMemorySession("user-123")}
		session := longSession(t, store)
		require.NoError(t, session.AddItems(t.Context(), longItems(200)...))
		opened := countOpenings(session)
		ctx := &cancelledAfter{Context: t.Context()}
		ctx.left.Store(20)
		items, err := session.GetItems(ctx, 0)
		require.ErrorIs(t, err, context.Canceled)
		require.Nil(t, items)
		require.LessOrEqual(t, opened.Load(), int64(20))

		ctx.left.Store(20)
		opened.Store(0)
		require.ErrorIs(t, session.AddItems(ctx, longItems(200)...), context.Canceled)
		require.LessOrEqual(t, opened.Load(), int64(20))
		stored, err := store.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, stored, 200)
	})
}

// TestACancelledContextStoresNothing cancels at every point of AddItems and of a read.
func TestACancelledContextStoresNothing(t *testing.T) {
	store := NewMemorySession("user-123")
	session := longSession(t, store)
	for left := range int64(3) {
		ctx := &cancelledAfter{Context: t.Context()}
		ctx.left.Store(left)
		require.ErrorIs(t, session.AddItems(ctx, Item(`{}`)), context.Canceled)
		items, err := store.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Empty(t, items)
	}
	require.NoError(t, session.AddItems(t.Context(), Item(`{}`)))
	for left := range int64(3) {
		ctx := &cancelledAfter{Context: t.Context()}
		ctx.left.Store(left)
		items, err := session.GetItems(ctx, 0)
		require.ErrorIs(t, err, context.Canceled)
		require.Nil(t, items)
	}
}

// panicking is a context that panics, once, when it has been asked a number of times.
type panicking struct {
	context.Context
	left atomic.Int64
}

func (c *panicking) Err() error {
	if c.left.Add(-1) == 0 {
		panic("no error")
	}
	return nil
}

func TestAPanicIsTheCallers(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		store := NewMemorySession("user-123")
		session := longSession(t, store)
		ctx := &panicking{Context: t.Context()}
		ctx.left.Store(20)
		require.PanicsWithValue(t, "no error", func() { session.AddItems(ctx, longItems(200)...) })
		require.Empty(t, store.lend(0))
	})
}

// exiting is a context that ends the goroutine of somebody else who asks.
type exiting struct {
	context.Context
	caller, asked atomic.Int64
}

func (c *exiting) Err() error {
	if c.asked.Add(1) > 20 && goroutine() != c.caller.Load() {
		runtime.Goexit()
	}
	return nil
}

// goroutine returns the number that a stack trace begins with.
func goroutine() (id int64) {
	stack := make([]byte, 64)
	fmt.Sscanf(string(stack[:runtime.Stack(stack, false)]), "goroutine %d ", &id)
	return id
}

func TestAGoroutineThatEndsIsAnError(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	store := NewMemorySession("user-123")
	session := longSession(t, store)
	ctx := &exiting{Context: t.Context()}
	ctx.caller.Store(goroutine())
	require.ErrorIs(t, session.AddItems(ctx, longItems(2000)...), errEnded)
	require.Empty(t, store.lend(0))
}

// TestMemorySessionLendsWhatStaysAsItIs pops an item that has been lent.
func TestMemorySessionLendsWhatStaysAsItIs(t *testing.T) {
	store := NewMemorySession("user-123")
	require.NoError(t, store.AddItems(t.Context(), Item(`{"a":1}`)))
	lent := store.lend(0)
	popped, err := store.PopItem(t.Context())
	require.NoError(t, err)
	copy(popped, "xxxxxxx")
	require.Equal(t, `{"a":1}`, string(lent[0]))
}

// TestMemorySessionKeepsItsBytes changes what a session returned over a MemorySession, whose bytes the session sees itself.
func TestMemorySessionKeepsItsBytes(t *testing.T) {
	store := NewMemorySession("user-123")
	session := longSession(t, store)
	require.NoError(t, store.AddItems(t.Context(), Item(`{"plain":1}`)))
	require.NoError(t, session.AddItems(t.Context(), Item(`{"sealed":1}`)))
	before, err := store.GetItems(t.Context(), 0)
	require.NoError(t, err)
	items, err := session.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, items, 2)
	for _, item := range items {
		for i := range item[:cap(item)] {
			item[:cap(item)][i] = 'x'
		}
	}
	after, err := store.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// BenchmarkParallel opens items of 1 kB with one goroutine and with two, for the sake of parallelBytes: ratio is the time of
// two to the time of one.
//
//	go test -run '^$' -bench Parallel -cpu 2 .
func BenchmarkParallel(b *testing.B) {
	key, err := ParseKey(GenerateKey())
	require.NoError(b, err)
	sealer, err := NewSealer("user-123", NoExpiry, key)
	require.NoError(b, err)
	sealed, err := sealer.Seal(Item(`{"content":"` + strings.Repeat("x", 1000) + `"}`))
	require.NoError(b, err)
	for _, n := range []int{2, 4, 8, 16, 32, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var total [3]time.Duration
			for b.Loop() {
				for workers := 1; workers <= 2; workers++ {
					start := time.Now()
					err := forEach(context.Background(), n, workers, func(int) error {
						_, err := sealer.open(sealed, start)
						return err
					})
					if err != nil {
						b.Fatal(err)
					}
					total[workers] += time.Since(start)
				}
			}
			b.ReportMetric(float64(total[2])/float64(total[1]), "ratio")
		})
	}
}
