package encsession_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// keys is a KeySource that returns a set answer and counts how often it is
// asked.
type keys struct {
	mu    sync.Mutex
	ring  encsession.Keyring
	err   error
	asked []string                                   // the session IDs
	hook  func(ctx context.Context, asked int) error // runs before each answer and may change it; an error becomes the answer
}

func (k *keys) Keys(ctx context.Context, sessionID string) (encsession.Keyring, error) {
	k.mu.Lock()
	k.asked = append(k.asked, sessionID)
	asked := len(k.asked)
	k.mu.Unlock()
	if k.hook != nil {
		if err := k.hook(ctx, asked); err != nil {
			return encsession.Keyring{}, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ring, k.err
}

// ring returns a keyring of the test keys with these numbers.
func ring(t testing.TB, current byte, older ...byte) encsession.Keyring {
	t.Helper()
	r := encsession.Keyring{Current: testKey(t, current)}
	for _, n := range older {
		r.Older = append(r.Older, testKey(t, n))
	}
	return r
}

// calls are all methods that need keys.
var calls = map[string]func(*encsession.EncryptedSession, context.Context) error{
	"GetItems": func(s *encsession.EncryptedSession, ctx context.Context) error {
		items, err := s.GetItems(ctx, 2)
		if err != nil && items != nil {
			return errors.New("items beside an error")
		}
		return err
	},
	"AddItems": func(s *encsession.EncryptedSession, ctx context.Context) error {
		return s.AddItems(ctx, message("new"))
	},
	"PopItem": func(s *encsession.EncryptedSession, ctx context.Context) error {
		item, err := s.PopItem(ctx)
		if err != nil && item != nil {
			return errors.New("an item beside an error")
		}
		return err
	},
	"Audit": func(s *encsession.EncryptedSession, ctx context.Context) error { _, err := s.Audit(ctx); return err },
	"Rekey": func(s *encsession.EncryptedSession, ctx context.Context) error { _, err := s.Rekey(ctx); return err },
	"SealPlaintext": func(s *encsession.EncryptedSession, ctx context.Context) error {
		_, err := s.SealPlaintext(ctx)
		return err
	},
	"Purge": func(s *encsession.EncryptedSession, ctx context.Context) error {
		_, err := s.Purge(ctx, time.Hour)
		return err
	},
	"DeleteItems": func(s *encsession.EncryptedSession, ctx context.Context) error {
		_, err := s.DeleteItems(ctx, func(encsession.Item) bool { return false })
		return err
	},
	"RewriteItems": func(s *encsession.EncryptedSession, ctx context.Context) error {
		_, err := s.RewriteItems(ctx, 1000, func([]encsession.Item) ([]encsession.Item, bool) { return nil, true })
		return err
	},
}

func TestNewRefusesNoSource(t *testing.T) {
	var nilKeys *keys
	var nilKey *encsession.Key
	var nilFunc func(context.Context, string) (encsession.Keyring, error)
	for name, source := range map[string]encsession.KeySource{
		"nil": nil, "nil pointer": nilKeys, "nil *Key": nilKey, "nil *Keyring": (*encsession.Keyring)(nil),
		"nil KeyFunc": encsession.KeyFunc(nil), "nil func": encsession.KeyFunc(nilFunc),
	} {
		session, err := encsession.New(encsession.NewMemorySession(sessionID), source)
		require.Nil(t, session, name)
		require.EqualError(t, err, "encsession: New: keys is nil: give a Key, a Keyring or another KeySource", name)
	}
	_, err := encsession.KeyFunc(nil).Keys(t.Context(), sessionID)
	require.EqualError(t, err, "KeyFunc is nil")
}

// TestKeysThatNeverChangeAreDerivedInNew uses keyrings that cannot be derived,
// and one that is changed after New.
func TestKeysThatNeverChangeAreDerivedInNew(t *testing.T) {
	for want, source := range map[string]encsession.KeySource{
		"current key: key is the zero Key": encsession.Key{},
		"current key: ":                    encsession.Keyring{Older: []encsession.Key{testKey(t, 0)}},
		"older key 1: key is the zero Key": encsession.Keyring{Current: testKey(t, 0), Older: []encsession.Key{testKey(t, 1), {}}},
	} {
		session, err := encsession.New(encsession.NewMemorySession(sessionID), source)
		require.Nil(t, session)
		require.ErrorContains(t, err, "encsession: New: "+want)
	}
	store := stored(t, "r")
	fixed := ring(t, 1, 0)
	session := newSession(t, store, fixed)
	fixed.Older[0] = testKey(t, 2)
	require.Equal(t, numberedAll(0), getItems(t, session, 0))
}

// TestNewAsksNoSource shows that the keys of a source are derived in the first
// call.
func TestNewAsksNoSource(t *testing.T) {
	source := &keys{err: errBroken}
	session := newSession(t, stored(t, "r"), source)
	require.Empty(t, source.asked)
	_, err := session.GetItems(t.Context(), 0)
	require.ErrorIs(t, err, errBroken)
	require.Equal(t, []string{sessionID}, source.asked)
}

// TestASourceIsAskedOnceACall counts how often a source is asked, over both
// kinds of stores.
func TestASourceIsAskedOnceACall(t *testing.T) {
	for name, call := range calls {
		for _, fourOnly := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				store := stored(t, "rrxru")
				var asStore encsession.Session = store
				if fourOnly {
					asStore = fourMethods{stored(t, "rrr")}
				}
				source := &keys{ring: ring(t, 0, 1)}
				session := newSession(t, asStore, source)
				for n := 1; n <= 3; n++ {
					err := call(session, t.Context())
					if !errors.Is(err, errors.ErrUnsupported) && !errors.As(err, new(*encsession.SkippedError)) {
						require.NoError(t, err, name)
					}
					want := n
					if name == "SealPlaintext" && !fourOnly {
						want = 2 * n // it walks the session twice
					}
					require.Len(t, source.asked, want, "%s, four methods %v", name, fourOnly)
				}
			})
		}
	}
}

// TestAnOperationAsksBeforeEachBatch matters because an operation notices in
// this way that a key has changed.
func TestAnOperationAsksBeforeEachBatch(t *testing.T) {
	for name, want := range map[string]int{
		"GetItems": 1, "AddItems": 1, "PopItem": 1, "Audit": 1,
		"Rekey": 3, "SealPlaintext": 6, "Purge": 3, "DeleteItems": 3, "RewriteItems": 3,
	} {
		store := newFaultyStore()
		require.NoError(t, newSession(t, store, testKey(t, 0)).AddItems(t.Context(), messages(2500)...))
		source := &keys{ring: ring(t, 0)}
		require.NoError(t, calls[name](newSession(t, store, source), t.Context()))
		require.Len(t, source.asked, want, name)
	}
	// A pop may walk over many batches, but asks only once.
	store := newFaultyStore()
	session := newSession(t, store, testKey(t, 0))
	require.NoError(t, session.AddItems(t.Context(), messages(1)...))
	require.NoError(t, newSession(t, store, testKey(t, 9), encsession.WithUnreadableHistory()).AddItems(t.Context(), messages(500)...))
	source := &keys{ring: ring(t, 0)}
	item, err := newSession(t, store, source).PopItem(t.Context())
	require.NoError(t, err)
	require.NotNil(t, item)
	require.Len(t, source.asked, 1)
}

// TestASourceIsNotAskedInVain makes calls that need no keys, that have wrong
// arguments, or whose context is done.
func TestASourceIsNotAskedInVain(t *testing.T) {
	source := &keys{err: errBroken}
	store := stored(t, "rr")
	session := newSession(t, store, source)
	require.NoError(t, session.AddItems(t.Context()))
	require.ErrorIs(t, session.AddItems(t.Context(), encsession.Item("no item")), encsession.ErrInvalidItem)
	_, err := session.Purge(t.Context(), -1)
	require.ErrorContains(t, err, "age of")
	_, err = session.DeleteItems(t.Context(), nil)
	require.ErrorContains(t, err, "match is nil")
	_, err = session.RewriteItems(t.Context(), 1, nil)
	require.ErrorContains(t, err, "edit is nil")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls {
		require.ErrorIs(t, call(session, ctx), context.Canceled, name)
	}
	require.ErrorIs(t, session.AddItems(ctx), context.Canceled)
	require.NoError(t, session.ClearSession(t.Context()))
	require.Empty(t, contents(t, store))
	require.Empty(t, source.asked)
}

// TestARotationAtRunTime changes the keys of a source while a handle uses it.
// The next call uses the new keys.
func TestARotationAtRunTime(t *testing.T) {
	store := newFaultyStore()
	source := &keys{ring: ring(t, 0)}
	session := newSession(t, store, source)
	require.NoError(t, session.AddItems(t.Context(), numbered(0)))
	source.ring = ring(t, 1, 0)
	require.NoError(t, session.AddItems(t.Context(), numbered(1)))
	require.Equal(t, numberedAll(0, 1), getItems(t, session, 0))
	require.Equal(t, numberedAll(1), getItems(t, newSession(t, store, testKey(t, 1)), 0), "the new one is current")
	n, err := session.Rekey(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	source.ring = ring(t, 1) // the old key is retired
	require.Equal(t, numberedAll(0, 1), getItems(t, session, 0))
	source.ring = ring(t, 0, 1) // the old key is current again
	require.NoError(t, session.AddItems(t.Context(), numbered(2)))
	require.Equal(t, numberedAll(2), getItems(t, newSession(t, store, testKey(t, 0)), 0))
}

// TestADestroyedKeyUnderALiveHandle erases a session while a handle uses it.
// Every call after that returns ErrKeyDestroyed and changes nothing. The
// session is never taken for one under a wrong key.
func TestADestroyedKeyUnderALiveHandle(t *testing.T) {
	for name, call := range calls {
		for _, opts := range [][]encsession.Option{nil, {encsession.WithUnreadableHistory(), encsession.WithPlaintext()}} {
			store := stored(t, "rrp")
			before := contents(t, store)
			source := &keys{ring: ring(t, 0)}
			var log dropLog
			session := newSession(t, store, source, append(opts, log.option())...)
			require.NoError(t, calls["Audit"](session, t.Context()))
			source.err = fmt.Errorf("tenant 7: %w", encsession.ErrKeyDestroyed)
			err := call(session, t.Context())
			require.ErrorIs(t, err, encsession.ErrKeyDestroyed, name)
			require.NotErrorIs(t, err, encsession.ErrUndecryptable)
			require.ErrorContains(t, err, "encsession: "+name+": key source: tenant 7: ")
			require.Empty(t, log.drops)
			require.Equal(t, before, contents(t, store))
			require.NoError(t, session.ClearSession(t.Context()), "clearing needs no key")
		}
	}
}

// TestTheErrorOfASourceIsNoDrop uses a source that returns an error for which
// reads drop items.
func TestTheErrorOfASourceIsNoDrop(t *testing.T) {
	for _, cause := range []error{
		errBroken, encsession.ErrUndecryptable, encsession.ErrExpired, encsession.ErrPlaintext, encsession.ErrMalformed, encsession.ErrFuture,
	} {
		for name, call := range calls {
			for _, asStore := range []func(*faultyStore) encsession.Session{
				func(s *faultyStore) encsession.Session { return s },
				func(s *faultyStore) encsession.Session { return fourMethods{s} },
			} {
				store := stored(t, "rrxp")
				before := contents(t, store)
				var events []encsession.Event
				observer := encsession.WithObserver(func(_ context.Context, e encsession.Event) { events = append(events, e) })
				session := newSession(t, asStore(store), &keys{err: cause}, observer)
				err := call(session, t.Context())
				require.ErrorIs(t, err, cause, name)
				require.ErrorContains(t, err, "encsession: "+name+": key source: ")
				require.NotErrorIs(t, err, errors.ErrUnsupported)
				require.Len(t, events, 1)
				require.Empty(t, events[0].Drops)
				require.ErrorIs(t, events[0].Err, cause)
				require.Equal(t, before, contents(t, store))
				require.Zero(t, store.gets.Load()+store.adds.Load()+store.pops.Load()+store.rewrites.Load())
			}
		}
	}
}

// TestASourceThatGivesNoKeys uses a source that returns, without an error, the
// zero Keyring or a keyring with a zero Key.
func TestASourceThatGivesNoKeys(t *testing.T) {
	for want, given := range map[string]encsession.Keyring{
		"current key: key is the zero Key": {},
		"current key: ":                    {Older: []encsession.Key{testKey(t, 0)}},
		"older key 0: key is the zero Key": {Current: testKey(t, 0), Older: make([]encsession.Key, 1)},
	} {
		for name, call := range calls {
			store := stored(t, "rr")
			before := contents(t, store)
			source := &keys{ring: given}
			session := newSession(t, store, source)
			for range 2 {
				require.ErrorContains(t, call(session, t.Context()), "encsession: "+name+": key source: "+want)
			}
			require.Equal(t, before, contents(t, store))
			source.ring = ring(t, 0)
			require.NoError(t, call(session, t.Context()), "it has recovered")
			source.ring = given
			require.ErrorContains(t, call(session, t.Context()), want, "the keys from before do not count any more")
		}
	}
}

func TestASourceThatBlocksEndsWithTheContext(t *testing.T) {
	for name, call := range calls {
		synctest.Test(t, func(t *testing.T) {
			store := stored(t, "rr")
			before := contents(t, store)
			source := &keys{ring: ring(t, 0), hook: func(ctx context.Context, _ int) error {
				<-ctx.Done()
				return ctx.Err()
			}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			require.ErrorIs(t, call(newSession(t, store, source), ctx), context.DeadlineExceeded, name)
			require.Equal(t, time.Second, time.Since(start))
			require.Equal(t, before, contents(t, store))
		})
	}
}

// TestAPanicOfASourceReachesTheCaller also shows that the panic leaves nothing
// locked.
func TestAPanicOfASourceReachesTheCaller(t *testing.T) {
	for name, call := range calls {
		for _, fourOnly := range []bool{false, true} {
			var store encsession.Session = stored(t, "rrr")
			if fourOnly {
				store = fourMethods{store}
			}
			before := getItems(t, store, 0)
			panics := true
			source := &keys{ring: ring(t, 0), hook: func(context.Context, int) error {
				if panics {
					panic("no keys")
				}
				return nil
			}}
			session := newSession(t, store, source)
			for range 2 {
				require.PanicsWithValue(t, "no keys", func() { _ = call(session, t.Context()) }, name)
			}
			require.Equal(t, before, getItems(t, store, 0))
			panics = false
			require.NoError(t, calls["PopItem"](session, t.Context()))
			require.NoError(t, calls["AddItems"](session, t.Context()))
		}
	}
}

// changing runs an operation in three batches over a store of 2,500 items.
func changing(t *testing.T, name string, source *keys) (changed int, store *faultyStore, err error) {
	store = newFaultyStore()
	fill(t, store.MemorySession, ofKind[name].letter, 2500)
	time.Sleep(2 * time.Second) // for Purge
	session := newSession(t, store, source, encsession.WithTTL(encsession.NoExpiry), encsession.WithPlaintext())
	changed, err = operations[name](session, t.Context())
	return changed, store, err
}

// firstChange is how often an operation asks for the keys before it changes its
// first batch.
var firstChange = map[string]int{"Rekey": 1, "Purge": 1, "DeleteItems": 1, "RewriteItems": 1, "SealPlaintext": 4}

func TestACurrentKeyThatChangesStopsAnOperation(t *testing.T) {
	for name, asked := range firstChange {
		for done := range 3 { // batches
			synctest.Test(t, func(t *testing.T) {
				source := &keys{ring: ring(t, 0, 1)}
				source.hook = func(_ context.Context, n int) error {
					if n == asked+done {
						source.ring = ring(t, 2, 0, 1)
					}
					return nil
				}
				changed, store, err := changing(t, name, source)
				if asked+done == 1 {
					return // the operation has seen no other key before
				}
				require.ErrorIs(t, err, encsession.ErrKeyChanged, "%s, with batch %d", name, done)
				require.ErrorContains(t, err, "encsession: "+name+": ")
				require.ErrorContains(t, err, "from "+testKey(t, 0).Fingerprint()+" to "+testKey(t, 2).Fingerprint())
				require.Equal(t, 1000*done, changed)
				report := audit(t, newSession(t, store, ring(t, 0), encsession.WithTTL(encsession.NoExpiry)))
				switch name {
				case "Rekey", "SealPlaintext":
					require.Equal(t, changed, report.Keys[0].Items)
				default:
					require.Equal(t, 2500-changed, report.Keys[0].Items)
				}
				require.Zero(t, audit(t, newSession(t, store, testKey(t, 2))).Keys[0].Items)
			})
		}
	}
}

// TestASealPlaintextStopsIfTheKeyChangesBetweenItsWalks changes the key before
// anything is sealed. The first walk has checked another key.
func TestASealPlaintextStopsIfTheKeyChangesBetweenItsWalks(t *testing.T) {
	for asked := 2; asked <= 4; asked++ {
		synctest.Test(t, func(t *testing.T) {
			source := &keys{ring: ring(t, 0)}
			source.hook = func(_ context.Context, n int) error {
				if n == asked {
					source.ring = ring(t, 9)
				}
				return nil
			}
			changed, _, err := changing(t, "SealPlaintext", source)
			require.ErrorIs(t, err, encsession.ErrKeyChanged)
			require.Zero(t, changed)
		})
	}
}

// TestOlderKeysMayChangeDuringAnOperation adds older keys, and the operation
// goes on. Then it removes one, and the operation skips items.
func TestOlderKeysMayChangeDuringAnOperation(t *testing.T) {
	for name := range firstChange {
		synctest.Test(t, func(t *testing.T) {
			source := &keys{ring: ring(t, 0, 1)}
			source.hook = func(_ context.Context, n int) error {
				source.ring = ring(t, 0, append([]byte{1}, []byte{2, 3, 4, 5, 6, 7}[:n]...)...)
				return nil
			}
			changed, _, err := changing(t, name, source)
			require.NoError(t, err, name)
			require.Equal(t, 2500, changed)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		source := &keys{ring: ring(t, 0, 1)}
		source.hook = func(_ context.Context, n int) error {
			if n == 3 {
				source.ring = ring(t, 0)
			}
			return nil
		}
		changed, _, err := changing(t, "Rekey", source)
		require.Equal(t, 2000, changed)
		require.Equal(t, encsession.SkippedError{Undecryptable: 500}, skippedBy(t, err))
	})
}

// TestASourceThatFailsDuringAnOperation shows that the operation ends, and that
// the batches before are done.
func TestASourceThatFailsDuringAnOperation(t *testing.T) {
	for name, asked := range firstChange {
		synctest.Test(t, func(t *testing.T) {
			source := &keys{ring: ring(t, 0, 1), hook: func(_ context.Context, n int) error {
				if n == asked+1 {
					return encsession.ErrKeyDestroyed
				}
				return nil
			}}
			changed, _, err := changing(t, name, source)
			require.ErrorIs(t, err, encsession.ErrKeyDestroyed)
			require.ErrorContains(t, err, "encsession: "+name+": key source: ")
			require.NotContains(t, err.Error(), "store: ")
			require.Equal(t, 1000, changed)
		})
	}
}

// TestASourceMayChangeItsSlice uses a source that changes the Older slice after
// returning it.
func TestASourceMayChangeItsSlice(t *testing.T) {
	store := stored(t, "r")
	source := &keys{ring: ring(t, 1, 0)}
	session := newSession(t, store, source, encsession.WithUnreadableHistory())
	require.Equal(t, numberedAll(0), getItems(t, session, 0))
	source.ring.Older[0] = testKey(t, 2) // between two calls
	require.Empty(t, getItems(t, session, 0), "the next call knows")
	source.ring.Older[0] = testKey(t, 0)
	require.Equal(t, numberedAll(0), getItems(t, session, 0))

	// The slice may also change in an operation, between the answer of the
	// source and the use of its keys.
	fill(t, store.MemorySession, 'A', 1)
	changed := 0
	slow := editedStore{store, func(int, []encsession.Item) error {
		changed++
		source.ring.Older[0] = testKey(t, 5)
		return nil
	}}
	report := audit(t, newSession(t, slow, source))
	require.Equal(t, keyCounts(t, "10", 1, 1), report.Keys)
	require.Equal(t, 1, changed)
}

// TestKeysAreNotDerivedAgain compares the allocations of a read. A source that
// returns the same keyring costs little more than a Key. A source that returns
// another each time costs far more.
func TestKeysAreNotDerivedAgain(t *testing.T) {
	read := func(source encsession.KeySource) float64 {
		session := newSession(t, encsession.NewMemorySession(sessionID), source)
		return testing.AllocsPerRun(100, func() {
			if _, err := session.GetItems(context.Background(), 1); err != nil {
				t.Fatal(err)
			}
		})
	}
	same, others := ring(t, 0), []encsession.Keyring{ring(t, 0), ring(t, 1)}
	fixed := read(same)
	held := read(encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) { return same, nil }))
	equal := read(encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) {
		return encsession.Keyring{Current: others[0].Current}, nil
	}))
	n := 0
	rotating := read(encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) {
		n++
		return others[n%2], nil
	}))
	t.Logf("%v with a Keyring, %v with a source, %v with one that rotates", fixed, held, rotating)
	require.LessOrEqual(t, held, fixed+4)
	require.Equal(t, held, equal)
	require.GreaterOrEqual(t, rotating, held+10)

	// The handle forgets its keys if the source fails.
	n = 0
	failing := func(source encsession.KeyFunc) float64 {
		session := newSession(t, encsession.NewMemorySession(sessionID), source)
		return testing.AllocsPerRun(100, func() {
			n = 0
			_, _ = session.GetItems(context.Background(), 1)
			_, _ = session.GetItems(context.Background(), 1)
		})
	}
	err := errors.New("down")
	once := failing(func(context.Context, string) (encsession.Keyring, error) {
		if n++; n == 2 {
			return encsession.Keyring{}, err
		}
		return same, nil
	})
	t.Logf("%v for a read and a failure", once)
	require.GreaterOrEqual(t, once, held+10)
}

// TestAGuardIsForgottenWithTheKeys lets the source fail once. Then the next
// AddItems looks at the history again.
func TestAGuardIsForgottenWithTheKeys(t *testing.T) {
	store := stored(t, "r")
	source := &keys{ring: ring(t, 0)}
	session := newSession(t, store, source, encsession.WithTTL(encsession.NoExpiry))
	require.NoError(t, session.AddItems(t.Context(), message("a")))
	require.NoError(t, session.AddItems(t.Context(), message("a")))
	require.EqualValues(t, 1, store.gets.Load())
	source.err = errBroken
	require.ErrorIs(t, session.AddItems(t.Context(), message("a")), errBroken)
	source.err = nil
	require.NoError(t, session.AddItems(t.Context(), message("a")))
	require.EqualValues(t, 2, store.gets.Load())
}

// TestTwoTenants gives two tenants one source and a store each. They share
// nothing else.
func TestTwoTenants(t *testing.T) {
	source := encsession.KeyFunc(func(_ context.Context, id string) (encsession.Keyring, error) {
		switch id {
		case "tenant-a/1":
			return ring(t, 1), nil
		case "tenant-b/1":
			return ring(t, 2), nil
		}
		return encsession.Keyring{}, fmt.Errorf("no tenant of %q", id)
	})
	a, b := encsession.NewMemorySession("tenant-a/1"), encsession.NewMemorySession("1")
	ofA := newSession(t, a, source)
	ofB := newSession(t, b, source, encsession.WithSessionID("tenant-b/1"))
	require.NoError(t, ofA.AddItems(t.Context(), numbered(1)))
	require.NoError(t, ofB.AddItems(t.Context(), numbered(2)))
	require.Equal(t, numberedAll(1), getItems(t, ofA, 0))
	require.Equal(t, numberedAll(2), getItems(t, ofB, 0))
	stored, err := a.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.NoError(t, b.AddItems(t.Context(), stored...)) // moved from one to the other
	require.Equal(t, numberedAll(2), getItems(t, ofB, 0))
	_, err = newSession(t, encsession.NewMemorySession("1"), source).GetItems(t.Context(), 0)
	require.ErrorContains(t, err, `no tenant of "1"`)
}

// TestEightGoroutinesWithARotatingSource uses one handle in eight goroutines at
// once.
func TestEightGoroutinesWithARotatingSource(t *testing.T) {
	const goroutines, each = 8, 40
	store := newFaultyStore()
	rings := []encsession.Keyring{ring(t, 0, 1, 2), ring(t, 1, 0, 2), ring(t, 2, 1, 0)}
	var asked atomic.Int64
	session := newSession(t, store, encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) {
		n := asked.Add(1)
		if n%50 == 0 {
			return encsession.Keyring{}, errBroken
		}
		return rings[n/3%3], nil
	}))
	var mu sync.Mutex
	popped, added := map[string]int{}, map[string]bool{}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				item := numbered(g*each + i)
				var got encsession.Item
				err := session.AddItems(t.Context(), item)
				mu.Lock()
				added[string(item)] = err == nil
				mu.Unlock()
				if err == nil {
					switch i % 4 {
					case 0:
						_, err = session.GetItems(t.Context(), 5)
					case 1:
						got, err = session.PopItem(t.Context())
					case 2:
						_, err = session.Rekey(t.Context())
					case 3:
						_, err = session.Audit(t.Context())
					}
				}
				if err != nil && !errors.Is(err, errBroken) {
					t.Error(err)
				}
				if got != nil {
					mu.Lock()
					popped[string(got)]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for _, item := range getItems(t, newSession(t, store, rings[0]), 0) {
		popped[item]++
	}
	for item, ok := range added {
		require.Equal(t, ok, popped[item] == 1, item)
	}
}
