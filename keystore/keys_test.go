package keystore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// inBubble runs a test in a bubble of synctest, in which the test controls the
// time. The table is on SQLite, which takes its time from the bubble.
func inBubble(t *testing.T, f func(t *testing.T, tb *table)) {
	synctest.Test(t, func(t *testing.T) { f(t, newTable(t, onSQLite)) })
}

func TestKeysAreAskedForAsOftenAsTheirAgeSays(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p := tb.start(t, WithMaxAge(10*time.Minute))
		p.mustCreate(t, "acme")
		p.kms.opens.Store(0)
		statements := 0
		p.statement = func(string) { statements++ }
		asked := func() [2]int {
			p.current(t, "acme")
			defer func() { statements = 0 }()
			return [2]int{statements, int(p.kms.opens.Swap(0))}
		}
		require.Equal(t, [2]int{1, 1}, asked(), "first use: a statement and a request")
		require.Equal(t, [2]int{0, 0}, asked())
		time.Sleep(time.Minute - time.Nanosecond)
		require.Equal(t, [2]int{0, 0}, asked())
		time.Sleep(time.Nanosecond)
		require.Equal(t, [2]int{1, 0}, asked(), "a recheck of the rows alone")
		require.Equal(t, [2]int{0, 0}, asked())
		for range 8 {
			time.Sleep(time.Minute)
			require.Equal(t, [2]int{1, 0}, asked())
		}
		time.Sleep(time.Minute)
		require.Equal(t, [2]int{1, 1}, asked(), "rechecks do not make a key younger")
	})
}

func TestARecheckFindsWhatHasChanged(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p, other := tb.start(t), tb.start(t)
		for _, tenant := range []string{"acme", "lost", "gone"} {
			p.mustCreate(t, tenant)
			p.current(t, tenant)
		}
		added := other.mustRotate(t, "acme", 1)
		_, err := other.Destroy(t.Context(), "gone")
		require.NoError(t, err)
		other.sql(t, "DELETE FROM {keys} WHERE tenant = 'lost'")
		require.Empty(t, p.olderKeys(t, "acme"))
		p.current(t, "gone")
		p.current(t, "lost")
		time.Sleep(DefaultMaxAge / rechecks)
		require.Equal(t, []string{added.Fingerprint}, p.olderKeys(t, "acme"))
		for range 2 {
			_, err = p.Keys(t.Context(), "gone")
			require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
			_, err = p.Keys(t.Context(), "lost")
			require.ErrorIs(t, err, ErrAltered)
		}
	})
}

// No process uses the key from the time that Destroy returns, even if it never
// gets to recheck.
func TestDestroyHoldsFromTheTimeThatItReturns(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p, other := tb.start(t), tb.start(t)
		p.mustCreate(t, "acme")
		p.current(t, "acme")
		from, err := other.Destroy(t.Context(), "acme")
		require.NoError(t, err)
		_, err = other.Keys(t.Context(), "acme")
		require.ErrorIs(t, err, encsession.ErrKeyDestroyed, "at once in the process that destroyed it")
		p.db.Close() // now it cannot learn of the Destroy
		time.Sleep(time.Until(from) - time.Nanosecond)
		p.current(t, "acme")
		time.Sleep(time.Nanosecond)
		_, err = p.Keys(t.Context(), "acme")
		require.ErrorContains(t, err, "database is closed")
		require.NotErrorIs(t, err, encsession.ErrKeyDestroyed, "it does not know why")
	})
}

// Somebody may set the wall clock of a process. And while a machine sleeps, the
// monotonic clock stands still.
func TestAgeIsByTheClockThatSaysMore(t *testing.T) {
	start := time.Now()
	require.Equal(t, time.Minute, age(start.Add(time.Minute), start))
	slept := time.Now().Add(time.Hour).Round(0) // no monotonic reading: the wall clock
	require.Greater(t, age(slept, start), 59*time.Minute)
}

func TestAnOutageIsAnErrorAndNoMore(t *testing.T) {
	for name, fault := range map[string]struct {
		begin, end func(*process)
	}{
		"KMS down":      {func(p *process) { p.kms.down() }, func(p *process) { p.kms.up() }},
		"database down": {func(p *process) { p.broken(true) }, func(p *process) { p.broken(false) }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, tb *table) {
				p := tb.start(t, WithAutoCreate())
				acme := p.mustCreate(t, "acme").Fingerprint
				require.Equal(t, acme, p.current(t, "acme"))
				p.mustCreate(t, "cold")
				store := encsession.NewMemorySession("acme")
				session, err := encsession.New(store, p, encsession.WithTTL(time.Hour))
				require.NoError(t, err)
				require.NoError(t, session.AddItems(t.Context(), encsession.Item(`{"n":1}`)))

				time.Sleep(DefaultMaxAge / 2)
				fault.begin(p)
				require.Equal(t, acme, p.current(t, "acme"), "keys in memory serve up to their age")
				_, err = p.Keys(t.Context(), "cold")
				outage(t, err)
				_, err = p.Keys(t.Context(), "new")
				outage(t, err)
				_, err = p.Create(t.Context(), "new")
				outage(t, err)
				_, err = p.Rotate(t.Context(), "acme", 1)
				outage(t, err)
				time.Sleep(DefaultMaxAge / 2)
				for range 3 { // a key that is too old is never served
					_, err = p.Keys(t.Context(), "acme")
					outage(t, err)
					_, err = session.GetItems(t.Context(), 0)
					outage(t, err)
					require.Error(t, session.AddItems(t.Context(), encsession.Item(`{"n":2}`)))
				}

				fault.end(p)
				require.Equal(t, acme, p.current(t, "acme"), "with no memory of the outage")
				items, err := session.GetItems(t.Context(), 0)
				require.NoError(t, err)
				require.Len(t, items, 1, "nothing was dropped or added")
				require.Len(t, p.list(t), 2, "no key was made")
				require.Len(t, p.list(t)[0].Keys, 1)
			})
		})
	}
}

// outage requires an error that says nothing about the keys.
func outage(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for _, reason := range []error{encsession.ErrKeyDestroyed, ErrUnknownTenant, ErrAltered, ErrExists, ErrConflict} {
		require.NotErrorIs(t, err, reason)
	}
}

// While the database is down, only one call in each interval asks it.
func TestARecheckThatFailsIsNotRepeatedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p := tb.start(t)
		p.mustCreate(t, "acme")
		p.current(t, "acme")
		asked := 0
		p.statement = func(string) { asked++ }
		p.broken(true)
		time.Sleep(time.Minute)
		for range 100 {
			p.current(t, "acme")
		}
		require.Equal(t, 1, asked)
	})
}

func TestASlowKMSIsAskedOnceByAHundredGoroutines(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p := tb.start(t)
		p.mustCreate(t, "acme")
		p.kms.opens.Store(0)
		p.kms.decrypt = func(ctx context.Context) error {
			select {
			case <-time.After(5 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		var group sync.WaitGroup
		var served, impatient atomic.Int64
		for i := range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if i%2 == 0 { // half of the callers, the first one too, wait for a second only
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			}
			group.Go(func() {
				defer cancel()
				_, err := p.Keys(ctx, "acme")
				switch {
				case err == nil:
					served.Add(1)
				case errors.Is(err, context.DeadlineExceeded):
					impatient.Add(1)
				}
			})
		}
		group.Wait()
		require.EqualValues(t, 50, served.Load(), "a caller that gives up takes nobody with it")
		require.EqualValues(t, 50, impatient.Load())
		require.EqualValues(t, 1, p.kms.opens.Load())
	})
}

// A Wrapper that ignores its context holds up one goroutine.
func TestAKMSThatHangsHoldsNobodyUp(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p := tb.start(t)
		p.mustCreate(t, "acme")
		p.kms.opens.Store(0)
		hang := make(chan struct{})
		p.kms.decrypt = func(context.Context) error { <-hang; return nil }
		start, goroutines := time.Now(), runtime.NumGoroutine()
		for range 50 {
			_, err := p.Keys(t.Context(), "acme")
			outage(t, err)
			require.ErrorContains(t, err, "takes too long")
		}
		require.Equal(t, loadTimeout, time.Since(start), "later calls do not wait again")
		require.EqualValues(t, 1, p.kms.opens.Load())
		require.Less(t, runtime.NumGoroutine(), goroutines+5)
		time.Sleep(time.Hour)
		close(hang)
		synctest.Wait()
		require.Nil(t, p.tenants["acme"].cachedEntry(), "what comes too late is not used")
		p.kms.up()
		p.current(t, "acme")
	})
}

func TestAPanicOfAWrapperReachesTheCallers(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p := tb.start(t)
		p.mustCreate(t, "acme")
		p.kms.decrypt = func(context.Context) error { panic("in the wrapper") }
		for range 2 {
			require.PanicsWithValue(t, "in the wrapper", func() { _, _ = p.Keys(t.Context(), "acme") })
		}
		p.kms.decrypt = func(context.Context) error { runtime.Goexit(); return nil }
		_, err := p.Keys(t.Context(), "acme")
		require.ErrorContains(t, err, "called runtime.Goexit")
		p.kms.up()
		p.current(t, "acme")
	})
}

// Three processes share one store, and their clocks differ. They write and read
// all the time, while a key is rotated, rekeyed and retired.
func TestARotationDropsNothingWhateverTheClocksSay(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		first := tb.start(t)
		first.mustCreate(t, "acme")
		store := encsession.NewMemorySession("acme")
		drops := 0
		used := make(map[string]bool)
		var processes []*process
		var sessions []*encsession.EncryptedSession
		for i := range 3 {
			p := tb.start(t)
			session, err := encsession.New(store, p, encsession.WithTTL(encsession.NoExpiry), encsession.WithStrictReads(),
				encsession.WithObserver(func(_ context.Context, e encsession.Event) { drops += len(e.Drops) }))
			require.NoError(t, err)
			time.Sleep(time.Duration(i) * 17 * time.Second) // so that they ask at different times
			p.current(t, "acme")
			processes, sessions = append(processes, p), append(sessions, session)
		}
		// On SQLite, each process has its own clock. A server has one clock for
		// all processes, and a failover may set it by up to a minute. This test
		// is worse than either.
		processes[1].skew, processes[2].skew = 50*time.Second, -5*time.Second
		written := 0
		work := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(7 * time.Second) {
				for i, session := range sessions {
					written++
					require.NoError(t, session.AddItems(t.Context(), encsession.Item(fmt.Sprintf(`{"n":%d}`, written))))
					used[processes[i].current(t, "acme")] = true
					items, err := session.GetItems(t.Context(), 20)
					require.NoError(t, err)
					require.Len(t, items, min(written, 20))
				}
			}
		}
		work(2 * time.Minute)
		require.Len(t, used, 1)
		first.mustRotate(t, "acme", 1)
		work(DefaultMaxAge)
		require.Len(t, used, 1, "no process is early by more than its clock")
		work(3 * time.Minute)
		require.Len(t, used, 2)
		clear(used)
		work(time.Minute)
		require.Len(t, used, 1, "all have switched")
		_, err := sessions[0].Rekey(t.Context())
		require.NoError(t, err)
		require.NoError(t, first.Retire(t.Context(), "acme", 1))
		work(DefaultMaxAge)
		items, err := sessions[2].GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.Len(t, items, written)
		require.Zero(t, drops)
		for _, p := range processes {
			require.Empty(t, p.olderKeys(t, "acme"))
		}
	})
}

// A process that has lost its database does not learn of the new key. It must
// stop before others seal under that key.
func TestAProcessThatCannotAskStopsBeforeTheNewKeyIsUsed(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p, other := tb.start(t), tb.start(t)
		p.mustCreate(t, "acme")
		old := p.current(t, "acme")
		info := other.mustRotate(t, "acme", 1)
		p.broken(true)
		var stopped time.Time
		for ; stopped.IsZero(); time.Sleep(time.Second) {
			if _, err := p.Keys(t.Context(), "acme"); err != nil {
				stopped = time.Now()
			}
			require.Equal(t, old, other.current(t, "acme"))
		}
		time.Sleep(time.Until(info.ActiveAt) - time.Millisecond)
		require.Equal(t, old, other.current(t, "acme"))
		time.Sleep(time.Millisecond)
		require.Equal(t, info.Fingerprint, other.current(t, "acme"), "without another question: it is known when")
		require.Equal(t, margin, info.ActiveAt.Sub(stopped))
	})
}

// A Rotate is held up for an hour between its INSERT and its COMMIT. Its key
// must not be in use too early.
func TestARotateThatIsHeldUpIsNotInUseTooEarly(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p, other := tb.start(t), tb.start(t)
		p.mustCreate(t, "acme")
		p.statement = func(query string) {
			switch {
			case strings.HasPrefix(query, "INSERT"):
				p.skew = -time.Hour
			case query == "COMMIT":
				p.skew = 0
				other.current(t, "acme") // it asks right before the COMMIT, and sees one key
			}
		}
		info := p.mustRotate(t, "acme", 1)
		require.Equal(t, time.Now().Add(DefaultMaxAge+margin).UTC(), info.ActiveAt)
		require.Equal(t, time.Now().Add(-time.Hour).UTC(), info.CreatedAt)
	})
}

func TestARotateThatWasKilledHalfwayIsFinished(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p := tb.start(t)
		first := p.mustCreate(t, "acme")
		p.statement = func(query string) {
			if query[:6] == "UPDATE" {
				p.statement = nil
				panic("killed")
			}
		}
		require.Panics(t, func() { _, _ = p.Rotate(t.Context(), "acme", 1) })
		time.Sleep(24 * time.Hour)
		require.Equal(t, first.Fingerprint, p.current(t, "acme"), "it never becomes current by itself")
		require.Len(t, p.olderKeys(t, "acme"), 1)
		require.True(t, p.list(t)[0].Keys[1].ActiveAt.IsZero())
		info := p.mustRotate(t, "acme", 1)
		require.Equal(t, []string{first.Fingerprint, info.Fingerprint}, append([]string{p.current(t, "acme")}, p.olderKeys(t, "acme")...))
		time.Sleep(whole)
		require.Equal(t, info.Fingerprint, p.current(t, "acme"))
		_, err := p.Rotate(t.Context(), "acme", 1)
		require.ErrorIs(t, err, ErrConflict)
	})
}

// A key is not kept for longer than it may be used, even if nobody asks again.
func TestKeysLeaveTheMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table) {
		p := tb.start(t)
		for n := range 3 {
			tenant := fmt.Sprint("tenant-", n)
			p.mustCreate(t, tenant)
			p.current(t, tenant)
			time.Sleep(time.Minute)
		}
		held := func() (n int) {
			synctest.Wait()
			p.mu.RLock()
			defer p.mu.RUnlock()
			for _, tenant := range p.tenants {
				if tenant.cachedEntry() != nil {
					n++
				}
			}
			return n
		}
		require.Equal(t, 3, held())
		time.Sleep(2 * time.Minute)
		require.Equal(t, 2, held())
		time.Sleep(5 * time.Minute)
		require.Zero(t, held())
		require.Nil(t, p.sweeper)
	})
}

// With a server, the wall clock of the process plays no part.
func TestTheClockOfTheServerDecides(t *testing.T) {
	for _, b := range backends[1:] {
		t.Run(b.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // in the bubble it is the year 2000
				tb := newTable(t, b)
				p := tb.start(t)
				first := p.mustCreate(t, "acme")
				require.Greater(t, first.ActiveAt.Year(), 2020)
				second := p.mustRotate(t, "acme", 1)
				require.Equal(t, first.Fingerprint, p.current(t, "acme"))
				time.Sleep(whole)
				require.Equal(t, first.Fingerprint, p.current(t, "acme"), "the server's clock has not moved")
				p.skew = whole
				p.forget("acme")
				require.Equal(t, second.Fingerprint, p.current(t, "acme"))
			})
		})
	}
}

func TestKeysFromMemoryAllocateNothing(t *testing.T) {
	p := newProcess(t, onSQLite, WithTenant(func(id string) string { return id[:4] }))
	p.mustCreate(t, "acme")
	p.current(t, "acme/1")
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := p.Keys(ctx, "acme/1"); err != nil {
			t.Error(err)
		}
	}))
}

// Somebody with access to the table can set any time. No key is lost, and no
// call panics.
func TestTimesThatNobodyCouldStore(t *testing.T) {
	p := newProcess(t, onSQLite)
	p.mustCreate(t, "acme")
	p.mustRotate(t, "acme", 1)
	for _, at := range []string{"9223372036854775807", "-9223372036854775808", "9223372036854775", "1"} {
		p.sql(t, "UPDATE {keys} SET active_at = "+at)
		p.forget("acme")
		require.Len(t, p.olderKeys(t, "acme"), 1)
		_ = p.Retire(t.Context(), "acme", 2)
		p.list(t)
	}
}

// A retired key needs no request. If somebody retires the current key by hand,
// it stays current. If the clock is set back, the key of that time is current
// again.
func TestRetiredKeys(t *testing.T) {
	p := newProcess(t, onSQLite)
	first := p.mustCreate(t, "acme")
	second := p.mustRotate(t, "acme", 1)
	p.skew = whole + margin
	require.NoError(t, p.Retire(t.Context(), "acme", 1))
	p.kms.opens.Store(0)
	require.Equal(t, second.Fingerprint, p.current(t, "acme"))
	require.EqualValues(t, 1, p.kms.opens.Load())
	p.sql(t, "UPDATE {keys} SET retired_at = 1")
	p.forget("acme")
	require.Equal(t, second.Fingerprint, p.current(t, "acme"))
	require.Empty(t, p.olderKeys(t, "acme"))
	p.skew = 0 // the clock is set back to before the new key became current
	p.forget("acme")
	require.Equal(t, first.Fingerprint, p.current(t, "acme"))
}
