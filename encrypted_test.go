package encsession_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

var errBroken = errors.New("the store is broken")

func TestNewRefuses(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	var nilStore *encsession.MemorySession
	var nilMap mapStore
	var nilFunc encsession.KeyFunc
	var nilPointer *encsession.Key
	strict := encsession.WithStrictReads()
	for name, tt := range map[string]struct {
		store encsession.Session
		keys  encsession.KeySource
		opt   encsession.Option
		want  string
	}{
		"no store":        {nil, testKey(t, 0), strict, "store is nil"},
		"nil pointer":     {nilStore, testKey(t, 0), strict, "store is nil"},
		"nil map":         {nilMap, testKey(t, 0), strict, "store is nil"},
		"sealed twice":    {newSession(t, store, testKey(t, 0)), testKey(t, 0), strict, "give New the session that it wraps"},
		"no keys":         {store, nil, strict, "keys is nil"},
		"nil KeyFunc":     {store, nilFunc, strict, "keys is nil"},
		"nil *Key":        {store, nilPointer, strict, "keys is nil"},
		"zero key":        {store, encsession.Key{}, strict, "current key: key is the zero Key"},
		"zero keyring":    {store, encsession.Keyring{}, strict, "current key: key is the zero Key"},
		"no current key":  {store, encsession.Keyring{Older: []encsession.Key{testKey(t, 0)}}, strict, "current key: key is the zero Key"},
		"zero older key":  {store, encsession.Keyring{Current: testKey(t, 0), Older: []encsession.Key{testKey(t, 1), {}}}, strict, "older key 1: key is the zero Key"},
		"nil option":      {store, testKey(t, 0), nil, "option 1 is nil"},
		"nil observer":    {store, testKey(t, 0), encsession.WithObserver(nil), "option 1: WithObserver: observer is nil"},
		"nil logger":      {store, testKey(t, 0), encsession.WithObserver(encsession.LogDrops(nil)), "option 1: WithObserver: observer is nil"},
		"TTL":             {store, testKey(t, 0), encsession.WithTTL(0), "option 1: TTL of 0s"},
		"session ID":      {store, testKey(t, 0), encsession.WithSessionID(""), "option 1: session ID is empty"},
		"store's ID":      {encsession.NewMemorySession(""), testKey(t, 0), strict, "session ID is empty"},
		"store's odd ID":  {encsession.NewMemorySession("\xff"), testKey(t, 0), strict, "session ID is not UTF-8"},
		"store's zero ID": {encsession.NewMemorySession("a\x00"), testKey(t, 0), strict, "session ID holds U+0000"},
	} {
		t.Run(name, func(t *testing.T) {
			session, err := encsession.New(tt.store, tt.keys, encsession.WithTTL(time.Minute), tt.opt)
			require.Nil(t, session)
			require.ErrorContains(t, err, "encsession: New: ")
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// mapStore is a store that is neither a pointer nor a struct.
type mapStore map[string]encsession.Item

func (s mapStore) SessionID() string { return sessionID }

func (s mapStore) GetItems(context.Context, int) ([]encsession.Item, error) {
	return []encsession.Item{s["only"]}, nil
}

func (s mapStore) AddItems(_ context.Context, items ...encsession.Item) error {
	s["only"] = items[0]
	return nil
}

func (s mapStore) PopItem(context.Context) (encsession.Item, error) { return nil, nil }

func (s mapStore) ClearSession(context.Context) error { return nil }

// secretSource is a KeySource that shows its key to whoever prints it.
type secretSource struct {
	key      encsession.Key
	Password string
}

func (s *secretSource) Keys(context.Context, string) (encsession.Keyring, error) {
	return encsession.Keyring{Current: s.key}, nil
}

// TestPrintingASessionPrintsNeitherStoreNorSource protects the plaintext that a
// store holds before its migration.
func TestPrintingASessionPrintsNeitherStoreNorSource(t *testing.T) {
	store := mapStore{"only": encsession.Item(`{"passport":"XZ4839201"}`)}
	source := &secretSource{testKey(t, 0), "open sesame"}
	require.Contains(t, fmt.Sprint(source), "open sesame")
	session := newSession(t, store, source, encsession.WithPlaintext())
	require.Len(t, getItems(t, session, 0), 1)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		printed := fmt.Sprintf(verb, session) + fmt.Sprintf(verb, struct{ s *encsession.EncryptedSession }{session})
		for _, secret := range []string{"XZ483920", "open ses"} {
			for _, spelling := range spellings([]byte(secret)) {
				require.NotContains(t, printed, spelling, verb)
			}
		}
	}
}

func TestAddItemsStoresCiphertextInOneCall(t *testing.T) {
	store := newFaultyStore()
	session := newSession(t, store, testKey(t, 0))
	require.NoError(t, session.AddItems(t.Context(), messages(3)...))
	require.EqualValues(t, 1, store.adds.Load())
	require.Equal(t, texts(messages(3)), getItems(t, session, 0))
	for _, stored := range getItems(t, store, 0) {
		require.NotContains(t, stored, "message")
		require.NotContains(t, stored, "role")
	}
	require.NoError(t, session.AddItems(t.Context()))
	require.EqualValues(t, 1, store.adds.Load(), "there was nothing to add")
}

func TestAddItemsChecksAllBeforeItStoresAny(t *testing.T) {
	for name, item := range invalidItems {
		store := newFaultyStore()
		session := newSession(t, store, testKey(t, 0))
		err := session.AddItems(t.Context(), message("good"), item, message("good"))
		require.ErrorIs(t, err, encsession.ErrInvalidItem, name)
		require.ErrorContains(t, err, "item 1")
		require.NotContains(t, err.Error(), "secret")
		require.Zero(t, store.adds.Load())
	}
}

func TestAnItemThatLooksLikeAnEnvelopeIsSealedLikeAnyOther(t *testing.T) {
	session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0))
	for _, item := range []encsession.Item{envelope("x"), seal(t, testKey(t, 0), message("sealed twice")), encsession.Item(`{"__enc__":2}`)} {
		require.NoError(t, session.AddItems(t.Context(), item))
		popped, err := session.PopItem(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(item), string(popped))
	}
}

// history makes a store from a word, in which each letter is an item: r
// readable, o sealed under the older key testKey(1), x expired, f from the
// future, u undecryptable, m malformed, p plaintext. The i-th letter is item i,
// and the last letter is the newest. The clock is that of a synctest bubble.
func history(t testing.TB, word string) *rawStore {
	t.Helper()
	now := uint64(time.Now().Unix())
	right, wrong := newForger(testIKM(0), sessionID), newForger(testIKM(9), sessionID)
	store := &rawStore{MemorySession: encsession.NewMemorySession(sessionID)}
	for i, letter := range word {
		item := string(numbered(i))
		switch letter {
		case 'r':
			store.items = append(store.items, right.envelope(now, item))
		case 'o':
			store.items = append(store.items, newForger(testIKM(1), sessionID).envelope(now, item))
		case 'x':
			store.items = append(store.items, right.envelope(now-601, item))
		case 'f':
			store.items = append(store.items, right.envelope(now+61, item))
		case 'u':
			store.items = append(store.items, wrong.envelope(now, item))
		case 'm':
			store.items = append(store.items, encsession.Item(fmt.Sprintf(`{"__enc__":1,"i":%d}`, i)))
		case 'p':
			store.items = append(store.items, encsession.Item(item))
		default:
			t.Fatalf("no such letter: %c", letter)
		}
	}
	return store
}

func numbered(i int) encsession.Item { return encsession.Item(fmt.Sprintf(`{"i":%d}`, i)) }

func numberedAll(numbers ...int) []string {
	out := []string{}
	for _, i := range numbers {
		out = append(out, string(numbered(i)))
	}
	return out
}

var causes = map[rune]error{
	'x': encsession.ErrExpired, 'f': encsession.ErrFuture, 'u': encsession.ErrUndecryptable,
	'm': encsession.ErrMalformed, 'p': encsession.ErrPlaintext,
}

// stored puts a history into a MemorySession, which is a real store, unlike
// rawStore.
func stored(t testing.TB, word string) *faultyStore {
	t.Helper()
	store := newFaultyStore()
	for _, item := range history(t, word).items {
		require.NoError(t, store.MemorySession.AddItems(t.Context(), item))
	}
	return store
}

func TestGetItemsCountsReadableItems(t *testing.T) {
	for _, tt := range []struct {
		word  string
		limit int
		want  []int
		drops string // newest first
		reads int64
	}{
		{"", 0, nil, "", 1},
		{"", 3, nil, "", 1},
		{"rrr", 0, []int{0, 1, 2}, "", 1},
		{"rrr", -1, []int{0, 1, 2}, "", 1},
		{"rrr", math.MinInt, []int{0, 1, 2}, "", 1},
		{"rrr", 2, []int{1, 2}, "", 1},
		{"rrr", 3, []int{0, 1, 2}, "", 1},
		{"rrr", 4, []int{0, 1, 2}, "", 1},
		{"rrr", math.MaxInt, []int{0, 1, 2}, "", 1},
		{"urmrfrx", 0, []int{1, 3, 5}, "xfmu", 1},
		{"urmrfrx", 1, []int{5}, "x", 2},
		{"urmrfrx", 2, []int{3, 5}, "xf", 2},
		{"urmrfrx", 3, []int{1, 3, 5}, "xfm", 2},
		{"urmrfrx", 4, []int{1, 3, 5}, "xfmu", 2},
		{"rrrruuuuuuu", 1, []int{3}, "uuuuuuu", 4}, // windows of 1, 3, 7 and 15
		{"rrrruuuuuuu", 2, []int{2, 3}, "uuuuuuu", 3},
		{"uuuuu", 2, nil, "uuuuu", 2},
		{"uuuuuu", 2, nil, "uuuuuu", 3}, // the window of 6 was full, so there might have been more
		{"purp", 0, []int{0, 2, 3}, "u", 1},
		{"purp", 3, []int{0, 2, 3}, "u", 2},
	} {
		t.Run(fmt.Sprintf("%s limit %d", tt.word, tt.limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log dropLog
				store := stored(t, tt.word)
				session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext(), log.option())
				require.Equal(t, numberedAll(tt.want...), getItems(t, session, tt.limit))
				require.Equal(t, tt.reads, store.gets.Load())
				var want []error
				for _, letter := range tt.drops {
					want = append(want, causes[letter])
				}
				log.requireDrops(t, want...)
			})
		})
	}
}

func TestOlderKeysAreReadWith(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	old := newSession(t, store, testKey(t, 1))
	require.NoError(t, old.AddItems(t.Context(), message("old")))
	both := newSession(t, store, encsession.Keyring{Current: testKey(t, 0), Older: []encsession.Key{testKey(t, 2), testKey(t, 1)}})
	require.NoError(t, both.AddItems(t.Context(), message("new")))
	require.Equal(t, texts([]encsession.Item{message("old"), message("new")}), getItems(t, both, 0))
	require.Equal(t, texts([]encsession.Item{message("old")}), getItems(t, old, 0))
}

// TestTheCallersKeyringIsNotKept changes a keyring after New has taken it.
func TestTheCallersKeyringIsNotKept(t *testing.T) {
	older := []encsession.Key{testKey(t, 1)}
	store := encsession.NewMemorySession(sessionID)
	session := newSession(t, store, encsession.Keyring{Current: testKey(t, 0), Older: older})
	older[0] = encsession.Key{}
	require.NoError(t, store.AddItems(t.Context(), seal(t, testKey(t, 1), message("old"))))
	require.Equal(t, texts([]encsession.Item{message("old")}), getItems(t, session, 0))
	report, err := session.Audit(t.Context())
	require.NoError(t, err)
	require.Equal(t, testKey(t, 1).Fingerprint(), report.Keys[1].Fingerprint)
}

func TestSessionsDoNotShareAKey(t *testing.T) {
	one := newSession(t, encsession.NewMemorySession("one"), testKey(t, 0))
	two := newSession(t, encsession.NewMemorySession("two"), testKey(t, 0))
	require.NoError(t, one.AddItems(t.Context(), message("a")))
	moved, err := one.Unwrap().GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.NoError(t, two.Unwrap().AddItems(t.Context(), moved...))
	require.Empty(t, getItems(t, two, 0))
}

func TestUnwrap(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	require.Same(t, store, newSession(t, store, testKey(t, 0)).Unwrap())
}

func TestClearSession(t *testing.T) {
	store := stored(t, "rump")
	session := newSession(t, store, testKey(t, 0))
	require.NoError(t, session.ClearSession(t.Context()))
	require.Empty(t, getItems(t, store, 0))
}

func TestStoreErrorsAreWrappedAndLoseNothing(t *testing.T) {
	fail := func() error { return errBroken }
	add := func(s *encsession.EncryptedSession) error { return s.AddItems(t.Context(), message("a")) }
	for name, tt := range map[string]struct {
		breakIt func(*faultyStore)
		call    func(*encsession.EncryptedSession) error
	}{
		"GetItems": {func(s *faultyStore) { s.get = func(int) error { return errBroken } }, func(s *encsession.EncryptedSession) error {
			items, err := s.GetItems(t.Context(), 1)
			require.Nil(t, items)
			return err
		}},
		"GetItems, half-way": {func(s *faultyStore) {
			s.get = func(limit int) error {
				if limit > 1 {
					return errBroken
				}
				return nil
			}
		}, func(s *encsession.EncryptedSession) error {
			items, err := s.GetItems(t.Context(), 1)
			require.Nil(t, items)
			return err
		}},
		"AddItems":             {func(s *faultyStore) { s.add = fail }, add},
		"AddItems, first look": {func(s *faultyStore) { s.get = func(int) error { return errBroken } }, add},
		"AddItems, second look": {func(s *faultyStore) {
			s.get = func(limit int) error {
				if limit > 1 {
					return errBroken
				}
				return nil
			}
		}, add},
		"ClearSession": {func(s *faultyStore) { s.clear = fail }, func(s *encsession.EncryptedSession) error { return s.ClearSession(t.Context()) }},
		"PopItem": {func(s *faultyStore) { s.rewrite = fail }, func(s *encsession.EncryptedSession) error {
			_, err := s.PopItem(t.Context())
			return err
		}},
		"RewriteItems": {func(s *faultyStore) { s.rewrite = fail }, func(s *encsession.EncryptedSession) error {
			_, err := s.RewriteItems(t.Context(), 1, noEdit)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := stored(t, "rru")
				before := getItems(t, store.MemorySession, 0)
				tt.breakIt(store)
				var log dropLog
				err := tt.call(newSession(t, store, testKey(t, 0), log.option()))
				require.ErrorIs(t, err, errBroken)
				require.ErrorContains(t, err, "encsession: "+strings.Split(name, ",")[0]+": store: ")
				require.Equal(t, before, getItems(t, store.MemorySession, 0))
				require.Empty(t, log.drops)
			})
		})
	}
}

// noEdit is an edit that nothing should call.
func noEdit([]encsession.Item) ([]encsession.Item, bool) { panic("edit was called") }

func TestCancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, wrap := range map[string]func(encsession.Session) encsession.Session{
		"Rewriter":     func(s encsession.Session) encsession.Session { return s },
		"four methods": func(s encsession.Session) encsession.Session { return fourMethods{s} },
	} {
		t.Run(name, func(t *testing.T) {
			store := stored(t, "rr")
			session := newSession(t, wrap(store), testKey(t, 0))
			items, err := session.GetItems(ctx, 0)
			require.Nil(t, items)
			require.ErrorIs(t, err, context.Canceled)
			item, err := session.PopItem(ctx)
			require.Nil(t, item)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, session.AddItems(ctx, message("a")), context.Canceled)
			require.ErrorIs(t, session.ClearSession(ctx), context.Canceled)
			_, err = session.RewriteItems(ctx, 1, noEdit)
			require.ErrorIs(t, err, context.Canceled)
			require.Zero(t, store.gets.Load()+store.adds.Load()+store.pops.Load()+store.rewrites.Load())
		})
	}
}

// countdown is a context that is cancelled after a number of checks, and so in
// the middle of a loop.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestContextCancelledInTheMiddle(t *testing.T) {
	store := stored(t, "rrrrr")
	session := newSession(t, store, testKey(t, 0))
	_, err := session.GetItems(&countdown{t.Context(), 4}, 0)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, session.AddItems(&countdown{t.Context(), 4}, messages(5)...), context.Canceled)
	require.Zero(t, store.adds.Load())
}

func TestZeroEncryptedSession(t *testing.T) {
	var absent *encsession.EncryptedSession
	for _, session := range []*encsession.EncryptedSession{{}, absent} {
		require.Empty(t, session.SessionID())
		require.Nil(t, session.Unwrap())
		items, err := session.GetItems(t.Context(), 0)
		require.Nil(t, items)
		require.ErrorContains(t, err, "no session: the error of New")
		item, err := session.PopItem(t.Context())
		require.Nil(t, item)
		require.ErrorContains(t, err, "no session: the error of New")
		require.ErrorContains(t, session.AddItems(t.Context()), "no session: the error of New")
		require.ErrorContains(t, session.ClearSession(t.Context()), "no session: the error of New")
		_, err = session.RewriteItems(t.Context(), 1, noEdit)
		require.ErrorContains(t, err, "no session: the error of New")
	}
}

// TestTheStoreChangesBetweenTwoWindows lets another client change the store
// while a read widens its window.
func TestTheStoreChangesBetweenTwoWindows(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(store *faultyStore)
		want   []string
		drops  int
	}{
		"added": {func(s *faultyStore) {
			require.NoError(t, s.MemorySession.AddItems(t.Context(), seal(t, testKey(t, 0), message("new"))))
		}, append(numberedAll(1), string(message("new"))), 1},
		"popped": {func(s *faultyStore) {
			_, err := s.MemorySession.PopItem(t.Context())
			require.NoError(t, err)
		}, numberedAll(0, 1), 0},
		"cleared": {func(s *faultyStore) { require.NoError(t, s.MemorySession.ClearSession(t.Context())) }, []string{}, 0},
		"resealed": {func(s *faultyStore) {
			_, err := s.MemorySession.RewriteItems(t.Context(), 3, func(stored []encsession.Item) ([]encsession.Item, bool) {
				return []encsession.Item{stored[0], seal(t, testKey(t, 0), message("edited")), stored[2]}, false
			})
			require.NoError(t, err)
		}, append(numberedAll(0), string(message("edited"))), 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := stored(t, "rru")
				var log dropLog
				session := newSession(t, store, testKey(t, 0), log.option())
				store.get = func(int) error {
					if store.gets.Load() == 2 {
						tt.change(store)
					}
					return nil
				}
				require.Equal(t, tt.want, getItems(t, session, 2))
				require.Len(t, log.drops, tt.drops)
			})
		})
	}
}

// slabStore returns parts of one buffer that it uses again and again. No store
// may do that.
type slabStore struct {
	*encsession.MemorySession
	slab []byte
}

func (s *slabStore) GetItems(ctx context.Context, limit int) ([]encsession.Item, error) {
	items, err := s.MemorySession.GetItems(ctx, limit)
	s.slab = s.slab[:0]
	for _, item := range items {
		s.slab = append(s.slab, item...)
	}
	rest := s.slab
	for i, item := range items {
		items[i], rest = rest[:len(item):len(item)], rest[len(item):]
	}
	return items, err
}

func TestAStoreThatReusesItsBufferMixesNothingUp(t *testing.T) {
	store := &slabStore{MemorySession: encsession.NewMemorySession(sessionID), slab: make([]byte, 0, 1<<20)}
	right, wrong := newSession(t, store, testKey(t, 0)), newSession(t, store, testKey(t, 1), encsession.WithUnreadableHistory())
	for i := range 6 {
		require.NoError(t, right.AddItems(t.Context(), numbered(i)))
	}
	require.NoError(t, wrong.AddItems(t.Context(), slices.Repeat([]encsession.Item{numbered(9)}, 4)...))
	require.NoError(t, right.AddItems(t.Context(), numbered(6)))
	require.Equal(t, numberedAll(4, 5, 6), getItems(t, right, 3))
}

// TestAReadHasOneClock lets items expire between two windows. The read judges
// all of them by the time of its start.
func TestAReadHasOneClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "rru")
		session := newSession(t, store, testKey(t, 0))
		store.get = func(int) error {
			if store.gets.Load() == 2 {
				time.Sleep(encsession.DefaultTTL + time.Second)
			}
			return nil
		}
		require.Equal(t, numberedAll(0, 1), getItems(t, session, 2))
	})
}

// slowRandomness takes a second for each read.
type slowRandomness struct{}

func (slowRandomness) Read(b []byte) (int, error) {
	time.Sleep(time.Second)
	return len(b), nil
}

func TestABatchIsSealedAsOfOneMoment(t *testing.T) {
	defer func(reader io.Reader) { rand.Reader = reader }(rand.Reader)
	rand.Reader = slowRandomness{}
	synctest.Test(t, func(t *testing.T) {
		session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0), encsession.WithTTL(10*time.Second))
		require.NoError(t, session.AddItems(t.Context(), messages(5)...)) // takes five seconds
		time.Sleep(5 * time.Second)
		require.Len(t, getItems(t, session, 0), 5)
		time.Sleep(time.Second)
		require.Empty(t, getItems(t, session, 0))
	})
}

// TestResultsShareNoBytes stores the same envelope and the same plaintext
// twice, in one window and in two.
func TestResultsShareNoBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "rp")
		twice, err := store.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.NoError(t, store.MemorySession.AddItems(t.Context(), append(twice, twice...)...))
		require.NoError(t, store.MemorySession.AddItems(t.Context(), envelope("x")))
		session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext())
		for _, limit := range []int{0, 3, 4, 6} {
			items, err := session.GetItems(t.Context(), limit)
			require.NoError(t, err)
			before := texts(items)
			for i := range items {
				for j := range items[i] {
					items[i][j] = byte(i)
				}
			}
			for i := range items {
				require.Equal(t, strings.Repeat(string(rune(i)), len(items[i])), string(items[i]))
			}
			require.Equal(t, before, getItems(t, session, limit))
		}
	})
}

func TestAWrongKeyLosesNothing(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	right := newSession(t, store, testKey(t, 0))
	require.NoError(t, right.AddItems(t.Context(), messages(20)...))
	var log dropLog
	wrong := newSession(t, store, testKey(t, 1), log.option())
	require.Empty(t, getItems(t, wrong, 0))
	log.requireDrops(t, slices.Repeat([]error{encsession.ErrUndecryptable}, 20)...)
	for range 3 {
		item, err := wrong.PopItem(t.Context())
		require.NoError(t, err)
		require.Nil(t, item)
		log.requireDrops(t, slices.Repeat([]error{encsession.ErrUndecryptable}, 20)...)
	}
	require.Equal(t, texts(messages(20)), getItems(t, right, 0))
}
