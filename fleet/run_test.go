package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/stretchr/testify/require"
)

// filled returns a store of n sessions, "s0" and so on, each with a readable
// item.
func filled(t testing.TB, n int, opts ...encsession.Option) *store {
	s := newStore(t, newKey(t, 1), opts...)
	for i := range n {
		s.add(fmt.Sprintf("s%d", i), newKey(t, 1), 1)
	}
	return s
}

func TestOperationsGoOnPastSessionsThatFail(t *testing.T) {
	for name, operate := range operations {
		for _, workers := range []int{1, 8} {
			s := filled(t, 20)
			s.opening = func(_ context.Context, id string) error {
				if id == "s0" || id == "s7" {
					return errFault
				}
				return nil
			}
			outcomes := make(map[fleet.Outcome]int)
			summary, err := operate(t.Context(), s.sessions(), s.open, fleet.WithWorkers(workers),
				fleet.WithResults(func(r fleet.Result) {
					outcomes[r.Outcome]++
					require.Equal(t, r.Outcome == fleet.Failed, r.Err != nil)
				}))
			require.ErrorIs(t, err, errFault)
			var failed *fleet.FailedError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, 2, failed.Failed)
			require.Equal(t, 20, failed.Sessions)
			require.Len(t, failed.First, 2)
			require.ErrorContains(t, err, "fleet: "+name+": 2 of 20 sessions failed; session \"s")
			require.ErrorContains(t, err, `session "s7": open: fault`)
			require.Equal(t, 20, summary.Sessions)
			require.Equal(t, 2, summary.Failed)
			require.Equal(t, map[fleet.Outcome]int{fleet.Done: 18, fleet.Failed: 2}, outcomes)
		}
	}
}

func TestErasedSessionsHaveNotFailed(t *testing.T) {
	for name, operate := range operations {
		s := filled(t, 5)
		s.opening = func(_ context.Context, id string) error {
			if id == "s1" {
				return fmt.Errorf("looking for the key: %w", encsession.ErrKeyDestroyed)
			}
			return nil
		}
		s.keys = encsession.KeyFunc(func(_ context.Context, id string) (encsession.Keyring, error) {
			if id == "s2" {
				return encsession.Keyring{}, encsession.ErrKeyDestroyed
			}
			return encsession.Keyring{Current: newKey(t, 1)}, nil
		})
		var erased []string
		summary, err := operate(t.Context(), s.sessions(), s.open, fleet.WithResults(func(r fleet.Result) {
			if r.Outcome == fleet.Erased {
				require.ErrorIs(t, r.Err, encsession.ErrKeyDestroyed)
				erased = append(erased, r.Session.ID)
			}
		}))
		require.NoError(t, err, name)
		require.Equal(t, []string{"s1", "s2"}, erased)
		require.Equal(t, 5, summary.Sessions)
		require.Equal(t, 2, summary.Erased)
		require.Zero(t, summary.Failed)
	}
}

func TestErrorsAreBoundedAndResultsAreNot(t *testing.T) {
	s := filled(t, 25)
	s.opening = func(context.Context, string) error { return errFault }
	told := 0
	_, err := fleet.Audit(t.Context(), s.sessions(), s.open, fleet.WithResults(func(r fleet.Result) {
		require.ErrorIs(t, r.Err, errFault)
		told++
	}))
	require.Equal(t, 25, told)
	require.Equal(t, 10, strings.Count(err.Error(), "fault"))
	require.True(t, strings.HasPrefix(err.Error(), "fleet: Audit: 25 of 25 sessions failed; session \"s0\": open: fault; "), err)
	require.True(t, strings.HasSuffix(err.Error(), "; and 15 more"), err)
}

func TestOpenMustReturnTheSessionThatItWasAskedFor(t *testing.T) {
	key := newKey(t, 1)
	other, err := encsession.New(encsession.NewMemorySession("other"), key)
	require.NoError(t, err)
	for want, session := range map[string]*encsession.EncryptedSession{
		"open has returned no session":      nil,
		"has returned no session":           {},
		`open has returned session "other"`: other,
	} {
		for _, operate := range operations {
			summary, err := operate(t.Context(), filled(t, 1).sessions(),
				func(context.Context, string) (*encsession.EncryptedSession, error) { return session, nil })
			require.ErrorContains(t, err, want)
			require.Equal(t, fleet.Summary{Sessions: 1, Failed: 1}, summary)
		}
	}
}

// The keys may be derived for an ID other than the one in the listing.
func TestSessionsMayHaveAnIDOfTheirOwn(t *testing.T) {
	s := filled(t, 1, encsession.WithSessionID("another"))
	summary, err := fleet.Audit(t.Context(), s.sessions(), s.open)
	require.NoError(t, err)
	require.Equal(t, 1, summary.Report.Undecryptable)
}

func TestResultsComeOneAtATime(t *testing.T) {
	for _, workers := range []int{1, 8} {
		s := filled(t, 50)
		var order []string // the race detector watches it
		summary, err := fleet.Audit(t.Context(), s.sessions(), s.open, fleet.WithWorkers(workers),
			fleet.WithResults(func(r fleet.Result) { order = append(order, r.Session.ID) }))
		require.NoError(t, err)
		require.Equal(t, 50, summary.Sessions)
		require.ElementsMatch(t, s.ids, order)
		if workers == 1 {
			require.Equal(t, s.ids, order)
		}
	}
}

// caller identifies the goroutine of its caller.
func caller() string {
	stack := make([]byte, 64)
	goroutine, _, _ := strings.Cut(string(stack[:runtime.Stack(stack, false)]), "[")
	return goroutine
}

func TestResultsAndListingAreInTheGoroutineOfTheCaller(t *testing.T) {
	s := filled(t, 20)
	here := caller()
	s.listing = func(int, int) error { require.Equal(t, here, caller()); return nil }
	_, err := fleet.Rekey(t.Context(), s.sessions(), s.open, fleet.WithWorkers(4),
		fleet.WithResults(func(fleet.Result) { require.Equal(t, here, caller()) }))
	require.NoError(t, err)
}

func TestWorkersWorkAtTheSameTime(t *testing.T) {
	for workers, want := range map[int]time.Duration{1: 16 * time.Second, 8: 2 * time.Second, 1000: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := filled(t, 16)
			s.opening = func(context.Context, string) error { time.Sleep(time.Second); return nil }
			start := time.Now()
			_, err := fleet.Audit(t.Context(), s.sessions(), s.open, fleet.WithWorkers(workers))
			require.NoError(t, err)
			require.Equal(t, want, time.Since(start))
		})
	}
}

func TestPauseIsBetweenTheSessionsOfAWorker(t *testing.T) {
	for workers, want := range map[int]time.Duration{1: 4 * time.Minute, 3: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := filled(t, 5)
			start := time.Now()
			_, err := fleet.Audit(t.Context(), s.sessions(), s.open, fleet.WithPause(time.Minute), fleet.WithWorkers(workers))
			require.NoError(t, err)
			require.Equal(t, want, time.Since(start))
		})
	}
}

func TestPauseEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := filled(t, 5)
		start := time.Now()
		summary, err := fleet.Audit(ctx, s.sessions(), s.open, fleet.WithPause(time.Minute))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, 1, summary.Sessions)
		require.Zero(t, summary.Unfinished)
	})
}

func TestErrorOfTheListingEndsTheOperationOnceTheRunningSessionsAreDone(t *testing.T) {
	for name, operate := range operations {
		synctest.Test(t, func(t *testing.T) {
			s := filled(t, 5)
			last := 1
			if name == "Rekey" || name == "SealPlaintext" {
				last = 2
			}
			s.listing = func(pass, n int) error {
				if pass == last && n == 3 {
					return errFault
				}
				return nil
			}
			s.opening = func(context.Context, string) error { time.Sleep(time.Second); return nil }
			done := 0
			summary, err := operate(t.Context(), s.sessions(), s.open, fleet.WithWorkers(4),
				fleet.WithResults(func(r fleet.Result) { require.NoError(t, r.Err); done++ }))
			require.EqualError(t, err, "fleet: "+name+": listing of sessions: fault")
			require.ErrorIs(t, err, errFault)
			require.Equal(t, 3, done)
			require.Equal(t, 3, summary.Sessions)
		})
	}
}

func TestOperationsEndWithTheContextAndSayWhatIsDone(t *testing.T) {
	for name, operate := range operations {
		if name == "Rekey" || name == "SealPlaintext" {
			continue // below
		}
		synctest.Test(t, func(t *testing.T) {
			s := filled(t, 20)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second+time.Second/2)
			defer cancel()
			s.opening = func(ctx context.Context, _ string) error {
				select {
				case <-time.After(time.Second):
					return nil
				case <-ctx.Done():
					return errors.New("the driver's word for it")
				}
			}
			outcomes := make(map[fleet.Outcome]int)
			summary, err := operate(ctx, s.sessions(), s.open, fleet.WithWorkers(3),
				fleet.WithResults(func(r fleet.Result) { outcomes[r.Outcome]++ }))
			require.EqualError(t, err, "fleet: "+name+": context deadline exceeded")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, map[fleet.Outcome]int{fleet.Done: 6, fleet.Unfinished: 3}, outcomes)
			require.Equal(t, 9, summary.Sessions)
			require.Equal(t, 3, summary.Unfinished)
			require.Zero(t, summary.Failed)

			s.opening = nil // run it again, this time to the end
			summary, err = operate(t.Context(), s.sessions(), s.open)
			require.NoError(t, err)
			require.Equal(t, 20, summary.Sessions)
		})
	}
}

func TestNoSessionIsBegunAfterAResultHasEndedTheContext(t *testing.T) {
	for range 20 { // repeated, since a select may take either case
		s := filled(t, 10)
		ctx, cancel := context.WithCancel(t.Context())
		summary, err := fleet.Audit(ctx, s.sessions(), s.open, fleet.WithResults(func(fleet.Result) { cancel() }))
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 1, summary.Sessions)
	}
}

func TestContextThatEndsAfterTheLastSessionIsNoError(t *testing.T) {
	s := filled(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := fleet.Audit(ctx, s.sessions(), s.open, fleet.WithResults(func(r fleet.Result) {
		if r.Session.ID == "s2" {
			cancel()
		}
	}))
	require.NoError(t, err)
	opened := 0
	s.opening = func(context.Context, string) error { opened++; return nil }
	for name, operate := range operations {
		summary, err := operate(ctx, s.sessions(), s.open)
		require.ErrorIs(t, err, context.Canceled, name)
		require.Zero(t, summary)
		require.Zero(t, opened)
	}
}

// In each case, two of four workers wait for the context at that moment.
// synctest fails if a goroutine stays.
func TestPanicsReachTheCallerAndLeaveNoGoroutine(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		faulty func(*store)
		match  func(string, encsession.Item) bool
		told   func(fleet.Result)
	}{
		"open": {faulty: func(s *store) {
			s.opening = func(_ context.Context, id string) error { panicAt("s4", id, boom); return nil }
		}},
		"listing": {faulty: func(s *store) { s.listing = func(_, n int) error { panicAt(4, n, boom); return nil } }},
		"match":   {match: func(id string, _ encsession.Item) bool { panicAt("s4", id, boom); return false }},
		"results": {told: func(r fleet.Result) { panicAt("s1", r.Session.ID, boom) }},
		"observer": {faulty: func(s *store) {
			s.opts = append(s.opts, encsession.WithObserver(func(_ context.Context, e encsession.Event) { panicAt("s4", e.SessionID, boom) }))
		}},
		"keys": {faulty: func(s *store) {
			s.keys = encsession.KeyFunc(func(_ context.Context, id string) (encsession.Keyring, error) {
				panicAt("s4", id, boom)
				return encsession.Keyring{Current: newKey(t, 1)}, nil
			})
		}},
	} {
		for _, exit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, Goexit: %v", name, exit), func(t *testing.T) {
				exits.Store(exit)
				synctest.Test(t, func(t *testing.T) {
					s := filled(t, 10)
					if c.faulty != nil {
						c.faulty(s)
					}
					if c.match == nil {
						c.match = func(string, encsession.Item) bool { return true }
					}
					if c.told == nil {
						c.told = func(fleet.Result) {}
					}
					open := func(ctx context.Context, id string) (*encsession.EncryptedSession, error) {
						if id == "s2" || id == "s3" {
							<-ctx.Done()
						}
						return s.open(ctx, id)
					}
					var returned, panicked any
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						defer func() { panicked = recover() }()
						_, err := fleet.DeleteItems(t.Context(), s.sessions(), open, c.match, fleet.WithWorkers(4), fleet.WithResults(c.told))
						returned = fmt.Sprint("returned: ", err)
					}()
					<-ended
					require.Nil(t, returned)
					if exit {
						require.Nil(t, panicked)
					} else {
						require.Same(t, boom, panicked)
					}
				})
			})
		}
	}
}

var exits atomic.Bool // whether panicAt calls runtime.Goexit instead

func panicAt[T comparable](want, got T, boom error) {
	switch {
	case want != got:
	case exits.Load():
		runtime.Goexit()
	default:
		panic(boom)
	}
}

// The sessions are made as they are listed and opened.
func TestMemoryDoesNotGrowWithTheSessions(t *testing.T) {
	n, step := 100_000, 10_000
	if testing.Short() {
		n, step = 10_000, 1_000
	}
	key := newKey(t, 1)
	sessions := iter.Seq2[encsession.SessionInfo, error](func(yield func(encsession.SessionInfo, error) bool) {
		for i := range n {
			if !yield(encsession.SessionInfo{ID: fmt.Sprintf("user-%d", i)}, nil) {
				return
			}
		}
	})
	open := func(ctx context.Context, id string) (*encsession.EncryptedSession, error) {
		store := encsession.NewMemorySession(id)
		if err := store.AddItems(ctx, encsession.Item(plaintext)); err != nil {
			return nil, err
		}
		if strings.HasSuffix(id, "7") {
			return nil, errFault
		}
		return encsession.New(store, key, encsession.WithTTL(time.Hour))
	}
	heap := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	seen, first, most := 0, int64(0), int64(0)
	summary, err := fleet.Audit(t.Context(), sessions, open, fleet.WithWorkers(4), fleet.WithResults(func(fleet.Result) {
		if seen++; seen == step {
			first = heap()
		} else if seen%step == 0 {
			most = max(most, heap())
		}
	}))
	require.ErrorIs(t, err, errFault)
	require.Equal(t, n, summary.Sessions)
	require.Equal(t, n/10, summary.Failed)
	require.Equal(t, n-n/10, summary.Findings)
	t.Logf("live heap after %d sessions: %d KiB; most of it after that, up to %d sessions: %d KiB", step, first>>10, n, most>>10)
	require.Less(t, most-first, int64(256<<10))
}
