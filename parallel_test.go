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

// longItems returns n different items. More than a few of them are worth
// several goroutines.
func longItems(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item(fmt.Sprintf(`{"i":%d,"content":"%s"}`, i, strings.Repeat("x", 1000)))
	}
	return items
}

func longSession(t *testing.T, store Session, opts ...Option) *EncryptedSession {
	key, err := NewKey(bytes.Repeat([]byte{1, 2}, 16))
	require.NoError(t, err)
	session, err := New(store, key, opts...)
	require.NoError(t, err)
	return session
}

// napping is work that takes a second for each item. It counts how many items
// are worked on at once.
type napping struct {
	bytes     int
	now, most *atomic.Int64
}

func (w napping) worker() napping { return w }

func (w napping) size(*int) int { return w.bytes }

func (w napping) do(int, *int) error {
	w.most.Store(max(w.most.Load(), w.now.Add(1)))
	time.Sleep(time.Second)
	w.now.Add(-1)
	return nil
}

func TestEachUsesAsManyGoroutinesAsTheItemsAreWorth(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, tt := range []struct{ n, size, want int }{
		{0, 0, 0}, {1, 1 << 30, 1}, {2, 10, 1}, {1000, 1, 1}, {10, parallelBytes/10 - 1, 1},
		{2, parallelBytes, 2}, {3, parallelBytes, 3}, {2, parallelBytes / 2, 2}, {1000, 1000, 4}, {4, parallelBytes / 4, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := napping{tt.size, new(atomic.Int64), new(atomic.Int64)}
			require.NoError(t, each(t.Context(), make([]int, tt.n), w))
			require.EqualValues(t, tt.want, w.most.Load(), "%d items of %d B", tt.n, tt.size)
		})
	}
}

// errand is work that fails for some items.
type errand struct {
	bytes  int
	fails  func(i int) bool
	begun  *atomic.Int64
	pacing time.Duration
}

func (w errand) worker() errand { return w }

func (w errand) size(*int) int { return w.bytes }

func (w errand) do(i int, _ *int) error {
	w.begun.Add(1)
	if w.fails(i) {
		return fmt.Errorf("item %d", i)
	}
	time.Sleep(w.pacing)
	return nil
}

// TestEachStopsAtAnError uses one goroutine, and then several.
func TestEachStopsAtAnError(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		for _, size := range []int{0, parallelBytes} {
			synctest.Test(t, func(t *testing.T) {
				w := errand{bytes: size, begun: new(atomic.Int64), pacing: time.Second, fails: func(i int) bool { return i == 10 }}
				require.EqualError(t, each(t.Context(), make([]int, 1000), w), "item 10")
				require.LessOrEqual(t, w.begun.Load(), int64(10+2*runtime.GOMAXPROCS(0)))
			})
		}
	})
}

// goroutine returns the number of the goroutine, from a stack trace.
func goroutine() (id int64) {
	stack := make([]byte, 64)
	fmt.Sscanf(string(stack[:runtime.Stack(stack, false)]), "goroutine %d ", &id)
	return id
}

// everywhere gives each goroutine of forEach the same func.
func everywhere(do func(int) error) func() func(int) error {
	return func() func(int) error { return do }
}

// TestAnErrorStopsAllGoroutines returns an error in the caller's goroutine
// only, and then in the others only.
func TestAnErrorStopsAllGoroutines(t *testing.T) {
	for name, failsHere := range map[string]bool{"in the caller's goroutine": true, "in the others": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				caller := goroutine()
				var begun atomic.Int64
				err := forEach(t.Context(), 1000, 7, everywhere(func(int) error {
					begun.Add(1)
					time.Sleep(time.Second) // so that all have begun
					if (goroutine() == caller) == failsHere {
						return errors.New("failed")
					}
					time.Sleep(time.Second) // so that the others have failed
					return nil
				}))
				require.EqualError(t, err, "failed")
				require.EqualValues(t, 7, begun.Load())
			})
		})
	}
}

// TestForEachStopsWithItsContext does work that takes a second for each item.
// The context is done during the tenth. The caller's goroutine checks it before
// the next item. The others have begun one more item by then, at most.
func TestForEachStopsWithItsContext(t *testing.T) {
	for _, workers := range []int{1, 2, 7} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var after atomic.Int64
			err := forEach(ctx, 1000, workers, everywhere(func(i int) error {
				if i == 10 {
					cancel()
				}
				if i >= 10 {
					after.Add(1)
				}
				time.Sleep(time.Second)
				return nil
			}))
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, after.Load(), int64(2*workers))
		})
	}
}

func TestForEach(t *testing.T) {
	for _, workers := range []int{1, 2, 7} {
		calls := make([]atomic.Int64, 100)
		require.NoError(t, forEach(t.Context(), len(calls), workers, everywhere(func(i int) error {
			calls[i].Add(1)
			return nil
		})))
		for i := range calls {
			require.EqualValues(t, 1, calls[i].Load())
		}

		var begun atomic.Int64
		err := forEach(t.Context(), 1000, workers, everywhere(func(i int) error {
			begun.Add(1)
			if i >= 10 {
				return fmt.Errorf("item %d", i)
			}
			return nil
		}))
		require.EqualError(t, err, "item 10")
		require.LessOrEqual(t, begun.Load(), int64(10+workers))
	}
}

// TestForEachOutOfOrder delays one of two goroutines at item 10 or 11.
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
				err := forEach(t.Context(), 1000, 2, everywhere(func(i int) error {
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
				}))
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
		session := longSession(t, store, WithObserver(func(_ context.Context, e Event) {
			for _, d := range e.Drops {
				drops = append(drops, fmt.Sprint(d.Position, ": ", d.Err))
			}
		}))
		require.NoError(t, session.AddItems(t.Context(), items...))
		got, err := session.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, items, got)
		require.Empty(t, drops)

		// With unreadable items in between, a read returns the newest 50
		// readable ones. It tells of a drop for each item that it has passed
		// over, in order.
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
				wantDrops = append(wantDrops, fmt.Sprintf("%d: encsession: item is not encrypted", position))
			case 2:
				wantDrops = append(wantDrops, fmt.Sprintf("%d: encsession: item is malformed: v is not 1", position))
			}
		}
		require.Equal(t, wantDrops, drops)

		strict := longSession(t, store, WithStrictReads())
		got, err = strict.GetItems(t.Context(), 0)
		require.Nil(t, got)
		require.ErrorContains(t, err, "encsession: GetItems: item 1 from the newest: ")

		// The error is about the first of several invalid items, and nothing is
		// stored.
		items[150], items[50], items[51] = Item(`1`), Item(`2`), Item(`3`)
		err = session.AddItems(t.Context(), items...)
		require.ErrorIs(t, err, ErrInvalidItem)
		require.ErrorContains(t, err, "encsession: AddItems: item 50: ")
		stored, err := store.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, stored, 200)
	})
}

// paceUses makes every sealing and opening of an item take a millisecond. So in
// a synctest bubble the goroutines keep in step. It counts them.
func paceUses(s *EncryptedSession) *atomic.Int64 {
	uses := countUses(s)
	onUse(s, func() { time.Sleep(time.Millisecond) })
	return uses
}

// asked is a context whose Err calls ask with the number of the call.
type asked struct {
	context.Context
	calls atomic.Int64
	ask   func(call int64) error
}

func (c *asked) Err() error { return c.ask(c.calls.Add(1)) }

// cancelledAfter returns a context that is cancelled after its error was
// checked a number of times.
func cancelledAfter(ctx context.Context, calls int64) *asked {
	return &asked{Context: ctx, ask: func(call int64) error {
		if call > calls {
			return context.Canceled
		}
		return nil
	}}
}

func TestACancelledContextStopsWorkSoon(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &countingStore{Session: NewMemorySession("user-123")}
			session := longSession(t, store)
			require.NoError(t, session.AddItems(t.Context(), longItems(200)...))
			most := int64(20 * runtime.GOMAXPROCS(0)) // only the caller's goroutine checks the context
			opened := paceUses(session)
			items, err := session.GetItems(cancelledAfter(t.Context(), 20), 0)
			require.ErrorIs(t, err, context.Canceled)
			require.Nil(t, items)
			require.LessOrEqual(t, opened.Load(), most)

			opened.Store(0)
			require.ErrorIs(t, session.AddItems(cancelledAfter(t.Context(), 20), longItems(200)...), context.Canceled)
			require.LessOrEqual(t, opened.Load(), most)
			stored, err := store.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, stored, 200)
		})
	})
}

// TestACancelledContextStoresNothing cancels the context at every point of
// AddItems and of a read.
func TestACancelledContextStoresNothing(t *testing.T) {
	store := NewMemorySession("user-123")
	for calls := range int64(4) { // AddItems, its look at the history, sealing, the store
		session := longSession(t, store) // a new one, which has not looked at the history
		require.ErrorIs(t, session.AddItems(cancelledAfter(t.Context(), calls), Item(`{}`)), context.Canceled)
		items, err := store.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Empty(t, items)
	}
	session := longSession(t, store)
	require.NoError(t, session.AddItems(cancelledAfter(t.Context(), 4), Item(`{}`)))
	for calls := range int64(3) {
		items, err := session.GetItems(cancelledAfter(t.Context(), calls), 0)
		require.ErrorIs(t, err, context.Canceled)
		require.Nil(t, items)
	}
}

// TestOnlyTheCallersGoroutineRunsTheCallersCode uses a context that notices
// calls from another goroutine.
func TestOnlyTheCallersGoroutineRunsTheCallersCode(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		session := longSession(t, NewMemorySession("user-123"))
		caller, calls := goroutine(), int64(0)
		ctx := &asked{Context: t.Context(), ask: func(call int64) error {
			if goroutine() != caller {
				t.Error("another goroutine asked the context")
			}
			calls = call
			return nil
		}}
		require.NoError(t, session.AddItems(ctx, longItems(200)...))
		items, err := session.GetItems(ctx, 0)
		require.NoError(t, err)
		require.Len(t, items, 200)
		require.Greater(t, calls, int64(6), "it was asked for some of the items too")
	})
}

// TestAPanicOfTheContextIsTheCallers uses a context that panics at an item in
// the middle. Nothing is stored. When the panic reaches the caller, the other
// goroutines have stopped early, and none is at work any more.
func TestAPanicOfTheContextIsTheCallers(t *testing.T) {
	underProcs(t, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := NewMemorySession("user-123")
			session := longSession(t, store, WithTTL(NoExpiry))
			panicking := func() context.Context {
				return &asked{Context: t.Context(), ask: func(call int64) error {
					if call == 20 {
						panic("no error")
					}
					return nil
				}}
			}
			opened := paceUses(session)
			quiet := func() {
				t.Helper()
				before := opened.Load()
				time.Sleep(time.Hour)
				require.Equal(t, before, opened.Load())
			}
			require.PanicsWithValue(t, "no error", func() { session.AddItems(panicking(), longItems(200)...) })
			quiet()
			require.LessOrEqual(t, opened.Load(), int64(20*runtime.GOMAXPROCS(0)), "the others went on to the end")
			items, err := store.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Empty(t, items)

			require.NoError(t, session.AddItems(t.Context(), longItems(200)...))
			require.PanicsWithValue(t, "no error", func() { session.GetItems(panicking(), 0) })
			quiet()
			items, err = session.GetItems(t.Context(), 0)
			require.NoError(t, err)
			require.Len(t, items, 200)
		})
	})
}

// BenchmarkParallel opens items of 1 kB with one goroutine and with two, as a
// measure for parallelBytes. ratio is the time with two divided by the time
// with one.
//
//	go test -run '^$' -bench Parallel -cpu 2 .
func BenchmarkParallel(b *testing.B) {
	key, err := ParseKey(GenerateKey())
	require.NoError(b, err)
	sealer, err := NewSealer("user-123", Keyring{Current: key}, NoExpiry)
	require.NoError(b, err)
	sealed, err := sealer.Seal(Item(`{"content":"` + strings.Repeat("x", 1000) + `"}`))
	require.NoError(b, err)
	for _, n := range []int{2, 4, 8, 16, 32, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var total [3]time.Duration
			for b.Loop() {
				for workers := 1; workers <= 2; workers++ {
					start := time.Now()
					err := forEach(context.Background(), n, workers, func() func(int) error {
						openers := sealer.openers()
						return func(int) error {
							_, err := sealer.open(sealed, unixTime(start), openers)
							return err
						}
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
