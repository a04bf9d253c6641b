package encsession_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// eventLog is an observer that keeps the events.
type eventLog struct{ events []encsession.Event }

func (l *eventLog) observe(_ context.Context, e encsession.Event) {
	e.Drops = slices.Clone(e.Drops) // an observer must not keep them
	l.events = append(l.events, e)
}

// requireOne returns the only event that there is, and forgets it.
func (l *eventLog) requireOne(t testing.TB) encsession.Event {
	t.Helper()
	require.Len(t, l.events, 1)
	event := l.events[0]
	l.events = nil
	return event
}

// observedCalls are the methods that tell observers, each with arguments that
// have an effect.
var observedCalls = map[encsession.Op]func(context.Context, *encsession.EncryptedSession) error{
	"AddItems": func(ctx context.Context, s *encsession.EncryptedSession) error {
		return s.AddItems(ctx, numbered(100), numbered(101))
	},
	"GetItems": func(ctx context.Context, s *encsession.EncryptedSession) error {
		_, err := s.GetItems(ctx, 0)
		return err
	},
	"PopItem": func(ctx context.Context, s *encsession.EncryptedSession) error {
		_, err := s.PopItem(ctx)
		return err
	},
	"ClearSession": func(ctx context.Context, s *encsession.EncryptedSession) error { return s.ClearSession(ctx) },
	"RewriteItems": func(ctx context.Context, s *encsession.EncryptedSession) error {
		_, err := s.RewriteItems(ctx, 1000, func(stored []encsession.Item) ([]encsession.Item, bool) {
			new := slices.Clone(stored)
			new[0] = nil
			for i := range new[1:] {
				new[1+i] = message("edited")
			}
			return new, true
		})
		return err
	},
	"Audit": func(ctx context.Context, s *encsession.EncryptedSession) error {
		_, err := s.Audit(ctx)
		return err
	},
	"Rekey": func(ctx context.Context, s *encsession.EncryptedSession) error {
		_, err := s.Rekey(ctx)
		return err
	},
	"SealPlaintext": func(ctx context.Context, s *encsession.EncryptedSession) error {
		_, err := s.SealPlaintext(ctx)
		return err
	},
	"Purge": func(ctx context.Context, s *encsession.EncryptedSession) error {
		_, err := s.Purge(ctx, encsession.DefaultTTL)
		return err
	},
	"DeleteItems": func(ctx context.Context, s *encsession.EncryptedSession) error {
		_, err := s.DeleteItems(ctx, func(encsession.Item) bool { return true })
		return err
	},
}

// rotating is the keyring for histories with an o in them.
func rotating(t testing.TB) encsession.Keyring {
	return encsession.Keyring{Current: testKey(t, 0), Older: []encsession.Key{testKey(t, 1)}}
}

func drops(reasons ...any) (drops []encsession.Drop) {
	for i := 0; i < len(reasons); i += 2 {
		drops = append(drops, encsession.Drop{Position: reasons[i].(int), Err: reasons[i+1].(error)})
	}
	return drops
}

// TestACallIsOneEvent calls every method on a history that has items of each
// kind.
func TestACallIsOneEvent(t *testing.T) {
	all := drops(0, encsession.ErrFuture, 1, encsession.ErrMalformed, 2, encsession.ErrUndecryptable, 3, encsession.ErrExpired)
	for _, tt := range []struct {
		op    encsession.Op
		word  string
		opts  []encsession.Option
		four  bool // whether the store has only the four methods
		want  encsession.Event
		fails error
	}{
		{op: "AddItems", word: "roxfump", want: encsession.Event{Sealed: 2}},
		{op: "AddItems", word: "", want: encsession.Event{Sealed: 2}},
		{op: "GetItems", word: "", want: encsession.Event{}},
		{op: "GetItems", word: "porxumf", want: encsession.Event{Opened: 4, OpenedByOlder: 1, Plaintext: 1,
			Drops: append(slices.Clone(all), drops(6, encsession.ErrPlaintext)...)}},
		{op: "GetItems", word: "porxumf", opts: []encsession.Option{encsession.WithPlaintext()},
			want: encsession.Event{Opened: 4, OpenedByOlder: 1, Plaintext: 1, Drops: all}},
		{op: "PopItem", word: "", want: encsession.Event{}},
		{op: "PopItem", word: "porxumf", want: encsession.Event{Opened: 3, Removed: 1, Drops: all}},
		{op: "PopItem", word: "poxumf", want: encsession.Event{Opened: 3, OpenedByOlder: 1, Removed: 1, Drops: all}},
		{op: "PopItem", word: "xumf", want: encsession.Event{Opened: 2, Drops: all}},
		{op: "PopItem", word: "rxx", four: true, want: encsession.Event{Opened: 3, Removed: 3,
			Drops: drops(0, encsession.ErrExpired, 0, encsession.ErrExpired)}},
		{op: "PopItem", word: "xx", four: true, want: encsession.Event{Opened: 2,
			Drops: drops(0, encsession.ErrExpired, 1, encsession.ErrExpired)}},
		{op: "PopItem", word: "p", four: true, opts: []encsession.Option{encsession.WithPlaintext()},
			want: encsession.Event{Plaintext: 1, Removed: 1}},
		{op: "ClearSession", word: "porxumf", want: encsession.Event{}},
		{op: "RewriteItems", word: "roxum", want: encsession.Event{Opened: 3, OpenedByOlder: 1, Sealed: 1, Removed: 1}},
		{op: "RewriteItems", word: "rpp", opts: []encsession.Option{encsession.WithPlaintext()},
			want: encsession.Event{Opened: 1, Plaintext: 2, Sealed: 2, Removed: 1}},
		{op: "Audit", word: "porxumf", want: encsession.Event{Opened: 4, OpenedByOlder: 1, Plaintext: 1}},
		{op: "Audit", word: "porxumf", four: true, want: encsession.Event{Opened: 4, OpenedByOlder: 1, Plaintext: 1}},
		{op: "Rekey", word: "oorxfp", want: encsession.Event{Opened: 5, OpenedByOlder: 2, Plaintext: 1, Sealed: 2}},
		{op: "Rekey", word: "orum", want: encsession.Event{Opened: 2, OpenedByOlder: 1, Sealed: 1}, fails: encsession.ErrUndecryptable},
		{op: "SealPlaintext", word: "ppro", want: encsession.Event{Opened: 2, OpenedByOlder: 1, Plaintext: 2, Sealed: 2}},
		{op: "SealPlaintext", word: "prup", want: encsession.Event{Opened: 1, Plaintext: 2, Sealed: 1}, fails: encsession.ErrPlaintext},
		{op: "Purge", word: "xxrp", want: encsession.Event{Opened: 3, Plaintext: 1, Removed: 2}},
		{op: "DeleteItems", word: "xor", want: encsession.Event{Opened: 3, OpenedByOlder: 1, Removed: 3}},
		{op: "DeleteItems", word: "prm", want: encsession.Event{Opened: 1, Plaintext: 1, Removed: 1}, fails: encsession.ErrMalformed},
	} {
		t.Run(fmt.Sprint(tt.op, " of ", tt.word), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var store encsession.Session = stored(t, tt.word)
				if tt.four {
					store = fourMethods{store}
				}
				var log eventLog
				session := newSession(t, store, rotating(t), append(tt.opts, encsession.WithObserver(log.observe))...)
				err := observedCalls[tt.op](t.Context(), session)
				require.ErrorIs(t, err, tt.fails)
				got := log.requireOne(t)
				require.Len(t, got.Drops, len(tt.want.Drops))
				for i, want := range tt.want.Drops {
					require.Equal(t, want.Position, got.Drops[i].Position)
					require.ErrorIs(t, got.Drops[i].Err, want.Err)
					require.ErrorContains(t, got.Drops[i].Err, "encsession: "+want.Err.Error())
				}
				want := tt.want
				want.Op, want.SessionID, want.Err, want.Drops = tt.op, sessionID, err, got.Drops
				require.Equal(t, want, got)
			})
		})
	}
}

// TestAnEventHasTheTimeThatTheCallTook uses a store and a KeySource that take a
// second for each call.
func TestAnEventHasTheTimeThatTheCallTook(t *testing.T) {
	for op, call := range observedCalls {
		synctest.Test(t, func(t *testing.T) {
			sleep := func() error { time.Sleep(time.Second); return nil }
			store := stored(t, "rro")
			store.get = func(int) error { return sleep() }
			store.add, store.pop, store.clear, store.rewrite = sleep, sleep, sleep, sleep
			source := encsession.KeyFunc(func(ctx context.Context, id string) (encsession.Keyring, error) {
				time.Sleep(time.Second)
				return rotating(t).Keys(ctx, id)
			})
			var log eventLog
			session := newSession(t, store, source, encsession.WithObserver(log.observe))
			start := time.Now()
			require.NoError(t, call(t.Context(), session), op)
			event := log.requireOne(t)
			require.Equal(t, time.Since(start), event.Duration, op)
			require.GreaterOrEqual(t, event.Duration, time.Second, op)
		})
	}
}

// TestACallThatFailsIsOneEvent makes every method fail in every possible way.
func TestACallThatFailsIsOneEvent(t *testing.T) {
	errSource := errors.New("the KMS is gone")
	broken := func() error { return errBroken }
	for op, call := range observedCalls {
		for name, tt := range map[string]struct {
			cancelled bool
			source    error
			store     func() error
			want      error
		}{
			"context": {true, nil, nil, context.Canceled},
			"source":  {false, errSource, nil, errSource},
			"erased":  {false, encsession.ErrKeyDestroyed, nil, encsession.ErrKeyDestroyed},
			"store":   {false, nil, broken, errBroken},
		} {
			t.Run(fmt.Sprint(op, ", ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if tt.cancelled {
						cancel()
					}
					store := stored(t, "ro")
					if tt.store != nil {
						store.get = func(int) error { return tt.store() }
					}
					store.add, store.pop, store.clear, store.rewrite = tt.store, tt.store, tt.store, tt.store
					source := encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) { return rotating(t), tt.source })
					var log eventLog
					session := newSession(t, store, source, encsession.WithObserver(log.observe))
					err := call(ctx, session)
					if tt.source != nil && op == "ClearSession" {
						require.NoError(t, err, "it needs no keys")
					} else {
						require.ErrorIs(t, err, tt.want)
						require.ErrorContains(t, err, "encsession: "+string(op)+": ")
					}
					event := log.requireOne(t)
					require.True(t, event.Err == err, "the error is the one that the call returns") //nolint:errorlint // the very same
					require.Equal(t, encsession.Event{Op: op, SessionID: sessionID, Err: err}, event)
				})
			})
		}
	}
}

func TestInvalidArgumentsAreEvents(t *testing.T) {
	for name, tt := range map[string]struct {
		op   encsession.Op
		call func(*encsession.EncryptedSession) error
		want string
	}{
		"invalid item": {"AddItems", func(s *encsession.EncryptedSession) error {
			return s.AddItems(t.Context(), numbered(0), encsession.Item(`1`))
		}, "item 1"},
		"no edit": {"RewriteItems", func(s *encsession.EncryptedSession) error {
			_, err := s.RewriteItems(t.Context(), 1, nil)
			return err
		}, "edit is nil"},
		"negative age": {"Purge", func(s *encsession.EncryptedSession) error {
			_, err := s.Purge(t.Context(), -time.Second)
			return err
		}, "age of -1s"},
		"no match": {"DeleteItems", func(s *encsession.EncryptedSession) error {
			_, err := s.DeleteItems(t.Context(), nil)
			return err
		}, "match is nil"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log eventLog
			store := stored(t, "r")
			err := tt.call(newSession(t, store, testKey(t, 0), encsession.WithObserver(log.observe)))
			require.ErrorContains(t, err, tt.want, name)
			require.Equal(t, encsession.Event{Op: tt.op, SessionID: sessionID, Err: err}, log.requireOne(t), name)
			require.Zero(t, store.gets.Load()+store.adds.Load()+store.rewrites.Load(), name)
		})
	}
}

// TestAFailedPopTellsOfTheExpiredItemsThatItRemoved is about a method of
// Session that may fail and still have an effect. No other method of Session
// may.
func TestAFailedPopTellsOfTheExpiredItemsThatItRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "rxx")
		store.pop = func() error {
			if store.pops.Load() == 2 {
				return errBroken
			}
			return nil
		}
		var log eventLog
		item, err := newSession(t, fourMethods{store}, testKey(t, 0), encsession.WithObserver(log.observe)).PopItem(t.Context())
		require.Nil(t, item)
		require.ErrorIs(t, err, errBroken)
		event := log.requireOne(t)
		require.Equal(t, 1, event.Removed)
		require.Equal(t, 1, event.Opened)
		require.Len(t, event.Drops, 1)
		require.Zero(t, event.Drops[0].Position)
		require.ErrorIs(t, event.Drops[0].Err, encsession.ErrExpired)
	})
}

// TestAFailedReadTellsOfNoDrops uses a store that fails at the second window,
// and a strict read.
func TestAFailedReadTellsOfNoDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log eventLog
		store := stored(t, "ruu")
		store.get = func(limit int) error {
			if limit > 1 {
				return errBroken
			}
			return nil
		}
		_, err := newSession(t, store, testKey(t, 0), encsession.WithObserver(log.observe)).GetItems(t.Context(), 1)
		require.ErrorIs(t, err, errBroken)
		require.Empty(t, log.requireOne(t).Drops)
		store.get = nil
		_, err = newSession(t, store, testKey(t, 0), encsession.WithStrictReads(), encsession.WithObserver(log.observe)).GetItems(t.Context(), 1)
		require.ErrorIs(t, err, encsession.ErrUndecryptable)
		require.Empty(t, log.requireOne(t).Drops)
	})
}

func TestSeveralObserversAreToldInOrder(t *testing.T) {
	var order []string
	observe := func(name string) encsession.Option {
		return encsession.WithObserver(func(_ context.Context, e encsession.Event) { order = append(order, name+" "+string(e.Op)) })
	}
	session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0), observe("first"), observe("second"), observe("third"))
	require.NoError(t, session.AddItems(t.Context()))
	require.Empty(t, getItems(t, session, 0))
	require.Equal(t, []string{"first AddItems", "second AddItems", "third AddItems", "first GetItems", "second GetItems", "third GetItems"}, order)
}

// TestTheEventIsTheLastThingOfACall looks at the store in the observer, and
// again after the call has returned.
func TestTheEventIsTheLastThingOfACall(t *testing.T) {
	type key struct{}
	for op, call := range observedCalls {
		for name, wrap := range map[string]func(encsession.Session) encsession.Session{
			"Rewriter":     func(s encsession.Session) encsession.Session { return s },
			"four methods": func(s encsession.Session) encsession.Session { return fourMethods{s} },
		} {
			synctest.Test(t, func(t *testing.T) {
				store := stored(t, "xpror")
				uses := func() int64 {
					return store.gets.Load() + store.adds.Load() + store.pops.Load() + store.rewrites.Load()
				}
				var then []string
				var used int64
				session := newSession(t, wrap(store), rotating(t), encsession.WithObserver(func(ctx context.Context, _ encsession.Event) {
					require.Equal(t, "here", ctx.Value(key{}), "the context is that of the call")
					then, used = getItems(t, store.MemorySession, 0), uses()
				}))
				_ = call(context.WithValue(t.Context(), key{}, "here"), session) // errors.ErrUnsupported, for some
				require.NotNil(t, then, "%s, %s", op, name)
				require.Equal(t, getItems(t, store.MemorySession, 0), then, "%s, %s", op, name)
				require.Equal(t, uses(), used, "%s, %s", op, name)
			})
		}
	}
}

// TestAnObserverMayUseTheSession calls every method from the observer of every
// method. It would hang if a lock were held.
func TestAnObserverMayUseTheSession(t *testing.T) {
	for op, call := range observedCalls {
		synctest.Test(t, func(t *testing.T) {
			for _, store := range []encsession.Session{stored(t, "rrx"), fourMethods{stored(t, "rrx")}} {
				var session *encsession.EncryptedSession
				events := 0
				session = newSession(t, store, testKey(t, 0), encsession.WithObserver(func(ctx context.Context, _ encsession.Event) {
					if events++; events == 1 {
						for _, again := range observedCalls {
							_ = again(ctx, session)
						}
						require.NoError(t, session.ClearSession(ctx))
						require.NoError(t, session.AddItems(ctx, message("from the observer")))
					}
				}))
				_ = call(t.Context(), session)
				require.Equal(t, 1+len(observedCalls)+2, events, op)
				require.Equal(t, texts([]encsession.Item{message("from the observer")}), getItems(t, newSession(t, store, testKey(t, 0)), 0))
			}
		})
	}
}

// TestAnObserverThatPanics shows that the panic reaches the caller. The work of
// the call is done, and nothing is locked.
func TestAnObserverThatPanics(t *testing.T) {
	for op, call := range observedCalls {
		synctest.Test(t, func(t *testing.T) {
			for _, wrap := range []func(encsession.Session) encsession.Session{
				func(s encsession.Session) encsession.Session { return s },
				func(s encsession.Session) encsession.Session { return fourMethods{s} },
			} {
				panics := true
				var log eventLog
				store, twin := stored(t, "xror"), stored(t, "xror")
				session := newSession(t, wrap(store), rotating(t), encsession.WithObserver(func(context.Context, encsession.Event) {
					if panics {
						panic("the metrics library is broken")
					}
				}), encsession.WithObserver(log.observe))
				require.PanicsWithValue(t, "the metrics library is broken", func() { _ = call(t.Context(), session) }, op)
				require.Empty(t, log.events)

				// A twin without that observer has as many items, and the
				// current key opens as many of them.
				quiet := newSession(t, wrap(twin), rotating(t))
				_ = call(t.Context(), quiet)
				panics = false
				want, err := quiet.Audit(t.Context())
				require.NoError(t, err)
				got, err := session.Audit(t.Context())
				require.NoError(t, err)
				require.Equal(t, want.Items, got.Items, op)
				require.Equal(t, want.Keys, got.Keys, op)
				for _, again := range observedCalls { // none of them hangs
					_ = again(t.Context(), session)
				}
				require.Len(t, log.events, 1+len(observedCalls))
			}
		})
	}
}

// TestConcurrentCallsAreOneEventEach is also for the race detector.
func TestConcurrentCallsAreOneEventEach(t *testing.T) {
	var events atomic.Int64
	session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0),
		encsession.WithObserver(func(context.Context, encsession.Event) { events.Add(1) }))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if err := session.AddItems(t.Context(), numbered(1)); err != nil {
					t.Error(err)
				}
				if _, err := session.GetItems(t.Context(), 3); err != nil {
					t.Error(err)
				}
				if _, err := session.PopItem(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 8*20*3, events.Load())
}

func TestDropped(t *testing.T) {
	wrapped := func(reason error) error { return fmt.Errorf("encsession: %w", reason) }
	event := encsession.Event{Drops: drops(0, wrapped(encsession.ErrExpired), 1, wrapped(encsession.ErrFuture), 5, wrapped(encsession.ErrExpired))}
	require.Equal(t, 2, event.Dropped(encsession.ErrExpired))
	require.Equal(t, 1, event.Dropped(encsession.ErrFuture))
	require.Zero(t, event.Dropped(encsession.ErrUndecryptable))
	require.Zero(t, encsession.Event{}.Dropped(encsession.ErrExpired))
}

func TestEventLogValue(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	for _, tt := range []struct {
		event encsession.Event
		want  string
	}{
		{encsession.Event{Op: "ClearSession", SessionID: "s", Duration: time.Second}, "e.op=ClearSession e.session_id=s e.duration=1s"},
		{encsession.Event{Op: "GetItems", Sealed: 1, Opened: 2, OpenedByOlder: 3, Plaintext: 4, Removed: 5, Err: errBroken,
			Drops: drops(0, encsession.ErrExpired, 1, encsession.ErrFuture, 2, encsession.ErrUndecryptable, 3, encsession.ErrMalformed,
				4, encsession.ErrPlaintext, 5, encsession.ErrPlaintext)},
			`e.op=GetItems e.session_id="" e.duration=0s e.sealed=1 e.opened=2 e.opened_by_older=3 e.plaintext=4 e.removed=5 ` +
				`e.dropped_expired=1 e.dropped_future=1 e.dropped_undecryptable=1 e.dropped_malformed=1 e.dropped_plaintext=2 e.error="the store is broken"`},
	} {
		out.Reset()
		logger.Info("m", "e", tt.event)
		require.Contains(t, out.String(), "msg=m "+tt.want+"\n")
	}
}

// logLines makes a read with LogDrops, and returns the lines of a JSON logger
// that logs all levels.
func logLines(t *testing.T, store encsession.Session, keys encsession.KeySource, opts ...encsession.Option) (lines []map[string]any) {
	t.Helper()
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	session := newSession(t, store, keys, append(opts, encsession.WithObserver(encsession.LogDrops(logger)))...)
	_, _ = session.GetItems(t.Context(), 0)
	for decoder := json.NewDecoder(&out); ; {
		var line map[string]any
		err := decoder.Decode(&line)
		if errors.Is(err, io.EOF) {
			return lines
		}
		require.NoError(t, err)
		lines = append(lines, line)
	}
}

func TestLogDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := encsession.NewMemorySession(sessionID)
		require.NoError(t, newSession(t, store, testKey(t, 0)).AddItems(t.Context(), messages(1000)...))
		lines := logLines(t, store, testKey(t, 1))
		require.Len(t, lines, 1)
		require.Equal(t, "WARN", lines[0]["level"])
		require.Equal(t, "encsession: a read left items out", lines[0]["msg"])
		require.Equal(t, map[string]any{"op": "GetItems", "session_id": sessionID, "duration": 0.0, "dropped_undecryptable": 1000.0}, lines[0]["event"])
		require.Empty(t, logLines(t, store, testKey(t, 0)), "nothing was dropped")
		require.Empty(t, logLines(t, store, testKey(t, 1), encsession.WithStrictReads()), "the error tells")

		for word, level := range map[string]string{"rxx": "DEBUG", "rxu": "WARN", "rp": "WARN", "rf": "WARN", "m": "WARN"} {
			lines := logLines(t, stored(t, word), testKey(t, 0))
			require.Len(t, lines, 1, word)
			require.Equal(t, level, lines[0]["level"], word)
		}
		lines = logLines(t, stored(t, "orxxumfpp"), rotating(t))
		require.Len(t, lines, 1)
		require.Equal(t, map[string]any{"op": "GetItems", "session_id": sessionID, "duration": 0.0, "opened": 5.0, "opened_by_older": 1.0,
			"plaintext": 2.0, "dropped_expired": 2.0, "dropped_undecryptable": 1.0, "dropped_malformed": 1.0, "dropped_future": 1.0,
			"dropped_plaintext": 2.0}, lines[0]["event"])
	})
	require.Nil(t, encsession.LogDrops(nil))
}

// TestNoEventShowsContentOrKeys prints the events of all methods over a history
// in which items of every kind have content.
func TestNoEventShowsContentOrKeys(t *testing.T) {
	const passport = "XZ4839201"
	content := `{"passport":"` + passport + `"}`
	forbidden := spellings([]byte(passport))
	for n := range byte(2) {
		f := newForger(testIKM(n), sessionID)
		for _, secret := range [][]byte{testIKM(n), f.sign, f.encrypt} {
			forbidden = append(forbidden, spellings(secret)...)
		}
	}
	now := uint64(time.Now().Unix())
	right, older, wrong := newForger(testIKM(0), sessionID), newForger(testIKM(1), sessionID), newForger(testIKM(9), sessionID)
	items := []encsession.Item{
		right.envelope(now, content), older.envelope(now, content), right.envelope(1, content), right.envelope(now+3600, content),
		wrong.envelope(now, content), right.envelope(now, content[1:]), encsession.Item(content),
		encsession.Item(`{"__enc__":1,"passport":"` + passport + `"}`), encsession.Item(`{"__enc__":"` + passport + `"}`),
		encsession.Item(passport), envelope(passport),
	}
	for i := range items { // their tokens too
		if start := bytes.Index(items[i], []byte(`"payload":"`)); start >= 0 {
			forbidden = append(forbidden, string(items[i][start+11:min(start+31, len(items[i]))]))
		}
	}
	type holder struct {
		hidden any
		Shown  any
	}
	seen := map[string]bool{}
	observe := func(_ context.Context, e encsession.Event) {
		e.Duration = 0
		if shown := fmt.Sprintf("%+v", e); seen[shown] {
			return
		} else {
			seen[shown] = true
		}
		var all strings.Builder
		for _, value := range []any{e, &e, e.Drops, e.Err} {
			for _, held := range []any{value, &value, []any{value}, holder{value, value}, &holder{hidden: value}} {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%c", "% x"} {
					fmt.Fprintf(&all, verb+"\n", held)
				}
				encoded, _ := json.Marshal(held) // an error will do too
				all.Write(encoded)
				slog.New(slog.NewJSONHandler(&all, nil)).Info("m", "k", held)
				slog.New(slog.NewTextHandler(&all, nil)).Info("m", "k", held)
			}
		}
		encsession.LogDrops(slog.New(slog.NewTextHandler(&all, nil)))(t.Context(), e)
		for _, secret := range forbidden {
			if strings.Contains(all.String(), secret) {
				t.Errorf("an event of %s shows %q: %+v", e.Op, secret, e)
			}
		}
	}
	for _, opts := range [][]encsession.Option{
		nil, {encsession.WithPlaintext()}, {encsession.WithStrictReads()}, {encsession.WithUnreadableHistory(), encsession.WithTTL(encsession.NoExpiry)},
	} {
		for n := range items {
			store := &rawStore{MemorySession: encsession.NewMemorySession(sessionID)}
			for _, call := range observedCalls {
				store.items = slices.Concat(items[n:], items[:n])
				session := newSession(t, store, rotating(t), append(slices.Clone(opts), encsession.WithObserver(observe))...)
				_ = call(t.Context(), session)
				_ = call(t.Context(), newSession(t, fourMethods{store}, rotating(t), append(slices.Clone(opts), encsession.WithObserver(observe))...))
				require.Error(t, session.AddItems(t.Context(), encsession.Item(passport)))
			}
		}
	}
	require.Greater(t, len(seen), 100)
}
