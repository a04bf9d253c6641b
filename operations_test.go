package encsession_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

const bubbleStart = 946684800 // the Unix time at which a synctest bubble starts

func TestAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := [3]forger{}
		for n := range f {
			f[n] = newForger(testIKM(byte(n)), sessionID)
		}
		store := &rawStore{MemorySession: encsession.NewMemorySession(sessionID), items: []encsession.Item{
			f[0].envelope(bubbleStart-600, `{}`),   // readable
			f[1].envelope(bubbleStart-601, `{}`),   // expired
			f[2].envelope(bubbleStart-10000, `{}`), // expired
			f[2].envelope(bubbleStart+60, `{}`),    // readable
			f[0].envelope(bubbleStart+61, `{}`),    // future
			f[0].envelope(bubbleStart, `NaN`),      // malformed, but authentic
			newForger(testIKM(9), sessionID).envelope(bubbleStart-99999, `{}`),
			envelope("x"),               // malformed
			encsession.Item("not JSON"), // malformed
			encsession.Item(`{"a":1}`),
		}}
		var log dropLog
		session := newSession(t, store, testKey(t, 0), log.option(), encsession.WithoutPlaintext(),
			encsession.WithReadKeys(testKey(t, 1), testKey(t, 2)), encsession.WithStrictReads())
		report, err := session.Audit(t.Context())
		require.NoError(t, err)
		require.Equal(t, encsession.Report{
			Items: 10, Readable: 2, Plaintext: 1, Expired: 2, Future: 1, Undecryptable: 1, Malformed: 3,
			Keys:   []int{3, 1, 2},
			Oldest: time.Unix(bubbleStart-10000, 0).UTC(), Newest: time.Unix(bubbleStart+61, 0).UTC(),
		}, report)
		require.Empty(t, log.drops)
		require.Len(t, store.items, 10)

		report, err = newSession(t, store, testKey(t, 8), encsession.WithTTL(encsession.NoExpiry)).Audit(t.Context())
		require.NoError(t, err)
		require.Equal(t, encsession.Report{Items: 10, Plaintext: 1, Undecryptable: 7, Malformed: 2, Keys: []int{0}}, report)
	})
}

func TestAuditOfNothing(t *testing.T) {
	report, err := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0), encsession.WithReadKeys(testKey(t, 1))).Audit(t.Context())
	require.NoError(t, err)
	require.Equal(t, encsession.Report{Keys: []int{0, 0}}, report)
	require.True(t, report.Oldest.IsZero())
}

// TestAuditOfExtremeTimes has times of sealing that no calendar has: the Report can still be encoded.
func TestAuditOfExtremeTimes(t *testing.T) {
	for sealed, want := range map[uint64]string{
		0:              "1970-01-01T00:00:00Z",
		253402300799:   "9999-12-31T23:59:59Z",
		253402300800:   "9999-12-31T23:59:59Z",
		math.MaxInt64:  "9999-12-31T23:59:59Z",
		math.MaxUint64: "9999-12-31T23:59:59Z",
	} {
		store := encsession.NewMemorySession(sessionID)
		require.NoError(t, store.AddItems(t.Context(), newForger(testIKM(0), sessionID).envelope(sealed, `{}`)))
		report, err := newSession(t, store, testKey(t, 0)).Audit(t.Context())
		require.NoError(t, err)
		encoded, err := json.Marshal(report)
		require.NoError(t, err)
		require.Contains(t, string(encoded), `"Oldest":"`+want+`","Newest":"`+want+`"`)
	}
}

func TestAuditErrors(t *testing.T) {
	store := stored(t, "rr")
	session := newSession(t, store, testKey(t, 0))
	report, err := session.Audit(&countdown{t.Context(), 3}) // one is asked by the decorator, one by the store
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, report)
	store.get = func(int) error { return errBroken }
	report, err = session.Audit(t.Context())
	require.ErrorIs(t, err, errBroken)
	require.ErrorContains(t, err, "encsession: Audit: store: ")
	require.Zero(t, report)
	_, err = new(encsession.EncryptedSession).Audit(t.Context())
	require.ErrorContains(t, err, "not made by New")
}

func TestRekey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, older := newForger(testIKM(1), sessionID), newForger(testIKM(2), sessionID)
		current, foreign := newForger(testIKM(0), sessionID), newForger(testIKM(9), sessionID)
		untouched := []encsession.Item{
			numbered(0), // injected or old plaintext: never legitimised by Rekey
			current.envelope(bubbleStart, `{"i":1}`),
			foreign.envelope(bubbleStart, `{"i":2}`),
			envelope("x"),
		}
		store := encsession.NewMemorySession(sessionID)
		require.NoError(t, store.AddItems(t.Context(), untouched...))
		require.NoError(t, store.AddItems(t.Context(),
			old.envelope(bubbleStart-5, ` {"i" : 4}`),
			older.envelope(bubbleStart-99999, `{"i":5}`),
			old.envelope(math.MaxUint64, `{"i":6}`),
			old.envelope(bubbleStart-7, `NaN`),
			encsession.Item(`{"payload":"`+encode(old.token(bubbleStart-8, []byte(`{"i":8}`)))+`","v":1,"x":2,"kid":"hkdf-v1","__enc__":1}`),
		))
		same := old.envelope(bubbleStart-9, `{"i":9}`)
		require.NoError(t, store.AddItems(t.Context(), same, same))

		both := newSession(t, store, testKey(t, 0), encsession.WithReadKeys(testKey(t, 1), testKey(t, 2)))
		before, err := both.Audit(t.Context())
		require.NoError(t, err)
		readBefore := getItems(t, both, 0)
		changed, err := both.Rekey(t.Context())
		require.NoError(t, err)
		require.Equal(t, 7, changed)

		after, err := both.Audit(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{1, 6, 1}, before.Keys)
		require.Equal(t, []int{8, 0, 0}, after.Keys)
		before.Keys, after.Keys = nil, nil
		require.Equal(t, before, after, "every item is in the class in which it was, and as old")
		require.Equal(t, readBefore, getItems(t, both, 0))
		require.Equal(t, texts(untouched), getItems(t, store, 0)[:4])
		alone := newSession(t, store, testKey(t, 0), encsession.WithTTL(encsession.NoExpiry))
		require.Contains(t, getItems(t, alone, 0), ` {"i" : 4}`)

		unchanged := getItems(t, store, 0)
		changed, err = both.Rekey(t.Context())
		require.NoError(t, err)
		require.Zero(t, changed)
		require.Equal(t, unchanged, getItems(t, store, 0))
	})
}

func TestSealPlaintext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &replacingRawStore{rawStore{MemorySession: encsession.NewMemorySession(sessionID), items: []encsession.Item{
			numbered(0), encsession.Item("not JSON: secret"), numbered(2), envelope("x"),
			newForger(testIKM(9), sessionID).envelope(0, `{}`), encsession.Item(` {"i" : 5}`), numbered(2),
		}}}
		session := newSession(t, store, testKey(t, 0), encsession.WithoutPlaintext())
		require.Empty(t, getItems(t, session, 0))
		changed, err := session.SealPlaintext(t.Context())
		require.Equal(t, 4, changed)
		require.ErrorIs(t, err, encsession.ErrMalformed)
		require.ErrorContains(t, err, "encsession: SealPlaintext: item 3 from the newest: ")
		require.ErrorContains(t, err, "item 5 from the newest: ")
		require.NotContains(t, err.Error(), "secret")
		require.Equal(t, []string{`{"i":0}`, `{"i":2}`, ` {"i" : 5}`, `{"i":2}`}, getItems(t, session, 0))
		require.Equal(t, "not JSON: secret", string(store.items[1]))

		report, err := session.Audit(t.Context())
		require.NoError(t, err)
		require.Zero(t, report.Plaintext)
		require.Equal(t, time.Unix(bubbleStart, 0).UTC(), report.Oldest, "sealed as of now")
	})
}

// replacingRawStore is a rawStore whose ReplaceItems works on what it holds.
type replacingRawStore struct{ rawStore }

func (s *replacingRawStore) ReplaceItems(ctx context.Context, old, new []encsession.Item) (int, error) {
	for i := range old {
		for j := len(s.items) - 1; j >= 0; j-- {
			if string(s.items[j]) == string(old[i]) {
				s.items[j] = new[i]
				break
			}
		}
	}
	return len(old), nil
}

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(999 * time.Millisecond)
		f, read := newForger(testIKM(0), sessionID), newForger(testIKM(1), sessionID)
		all := []encsession.Item{
			f.envelope(0, `{"i":0}`),                                // purged
			f.envelope(bubbleStart-61, `{"i":1}`),                   // purged
			read.envelope(bubbleStart-61, `{"i":2}`),                // purged
			f.envelope(bubbleStart-61, `NaN`),                       // purged: authentic
			f.envelope(bubbleStart-60, `{"i":4}`),                   // not older than that
			f.envelope(math.MaxUint64, `{"i":5}`),                   // from the future
			newForger(testIKM(9), sessionID).envelope(0, `{"i":6}`), // not authentic
			numbered(7),   // plaintext
			envelope("x"), // malformed
			newForger(testIKM(0), "another").envelope(bubbleStart, `{"i": 9}`), // not authentic
		}
		for name, ttl := range map[string]time.Duration{"NoExpiry": encsession.NoExpiry, "1s": time.Second, "1h": time.Hour} {
			store := encsession.NewMemorySession(sessionID)
			require.NoError(t, store.AddItems(t.Context(), all...))
			session := newSession(t, store, testKey(t, 0), encsession.WithReadKeys(testKey(t, 1)), encsession.WithTTL(ttl))
			removed, err := session.Purge(t.Context(), time.Minute)
			require.NoError(t, err, name)
			require.Equal(t, 4, removed)
			require.Equal(t, texts(all[4:]), getItems(t, store, 0))
			removed, err = session.Purge(t.Context(), 0)
			require.NoError(t, err)
			require.Equal(t, 1, removed)
			removed, err = session.Purge(t.Context(), math.MaxInt64/time.Second*time.Second)
			require.NoError(t, err)
			require.Zero(t, removed)
		}
	})
}

func TestPurgeByTheTTLRemovesWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0), encsession.WithTTL(time.Minute))
		for range 5 {
			require.NoError(t, session.AddItems(t.Context(), numbered(0)))
			time.Sleep(20*time.Second + 300*time.Millisecond)
		}
		report, err := session.Audit(t.Context())
		require.NoError(t, err)
		removed, err := session.Purge(t.Context(), time.Minute)
		require.NoError(t, err)
		require.Equal(t, report.Expired, removed)
		require.NotZero(t, removed)
		require.Len(t, getItems(t, session.Unwrap(), 0), report.Readable)
	})
}

func TestPurgeRefuses(t *testing.T) {
	store := stored(t, "rx")
	for _, age := range []time.Duration{encsession.NoExpiry, -time.Second, 1, 1500 * time.Millisecond, math.MinInt64} {
		removed, err := newSession(t, store, testKey(t, 0)).Purge(t.Context(), age)
		require.Zero(t, removed)
		require.ErrorContains(t, err, "age of "+age.String())
	}
	require.Len(t, contents(t, store), 2)
}

// operations are those that change what is stored.
var operations = map[string]func(*encsession.EncryptedSession, context.Context) (int, error){
	"Rekey":         (*encsession.EncryptedSession).Rekey,
	"SealPlaintext": (*encsession.EncryptedSession).SealPlaintext,
	"Purge": func(s *encsession.EncryptedSession, ctx context.Context) (int, error) {
		return s.Purge(ctx, 0)
	},
}

func TestOperationsNeedAReplacer(t *testing.T) {
	for name, operation := range operations {
		for _, store := range []encsession.Session{
			fourMethods{stored(t, "rpx")},
			newSession(t, fourMethods{encsession.NewMemorySession(sessionID)}, testKey(t, 1)), // even where there is nothing to do
		} {
			changed, err := operation(newSession(t, store, testKey(t, 0)), t.Context())
			require.Zero(t, changed)
			require.ErrorIs(t, err, errors.ErrUnsupported, name)
			require.ErrorContains(t, err, "encsession: "+name+": ")
			require.ErrorContains(t, err, "is not a Replacer")
		}
	}
}

func TestOperationErrors(t *testing.T) {
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fresh := func() *faultyStore {
					store := stored(t, "pxp")
					require.NoError(t, store.MemorySession.AddItems(t.Context(), newForger(testIKM(1), sessionID).envelope(0, `{}`)))
					return store
				}
				run := func(store *faultyStore, ctx context.Context) (int, error) {
					return operation(newSession(t, store, testKey(t, 0), encsession.WithReadKeys(testKey(t, 1))), ctx)
				}
				changed, err := run(fresh(), t.Context())
				require.NoError(t, err)
				require.NotZero(t, changed)

				store := fresh()
				store.get = func(int) error { return errBroken }
				changed, err = run(store, t.Context())
				require.Zero(t, changed)
				require.ErrorIs(t, err, errBroken)
				require.ErrorContains(t, err, "encsession: "+name+": store: ")

				store = fresh()
				before, calls := contents(t, store), 0
				store.replace = func() error {
					if calls++; calls == 2 { // the first call asks whether the store can
						return errBroken
					}
					return nil
				}
				changed, err = run(store, t.Context())
				require.Zero(t, changed)
				require.ErrorIs(t, err, errBroken)
				require.Equal(t, before, contents(t, store))

				store = fresh()
				changed, err = run(store, &countdown{t.Context(), 5}) // decorator, probe, decorator, store; then in the loop
				require.Zero(t, changed)
				require.ErrorIs(t, err, context.Canceled)
				require.Equal(t, before[0], contents(t, store)[0])
				require.Len(t, contents(t, store), len(before))

				_, err = operation(new(encsession.EncryptedSession), t.Context())
				require.ErrorContains(t, err, "not made by New")
			})
		})
	}
}

func TestOperationsWithoutRandomness(t *testing.T) {
	store := stored(t, "p")
	require.NoError(t, store.MemorySession.AddItems(t.Context(), newForger(testIKM(1), sessionID).envelope(0, `{}`)))
	before := contents(t, store)
	session := newSession(t, store, testKey(t, 0), encsession.WithReadKeys(testKey(t, 1)))
	defer func(reader any) { rand.Reader = reader.(interface{ Read([]byte) (int, error) }) }(rand.Reader)
	rand.Reader = noRandomness{}
	_, err := session.Rekey(t.Context())
	require.ErrorContains(t, err, "item 0 from the newest: no randomness")
	_, err = session.SealPlaintext(t.Context())
	require.ErrorContains(t, err, "item 1 from the newest: no randomness")
	_, err = session.ReplaceItems(t.Context(), []encsession.Item{numbered(0)}, []encsession.Item{numbered(1)})
	require.ErrorContains(t, err, "new item 0: no randomness")
	require.Equal(t, before, contents(t, store))
}

type noRandomness struct{}

func (noRandomness) Read([]byte) (int, error) { return 0, errBroken }

// TestOperationsWorkInBatches breaks a Rekey off after its first batch and runs it again.
func TestOperationsWorkInBatches(t *testing.T) {
	const n = 2500
	store := newFaultyStore()
	old := newSession(t, store.MemorySession, testKey(t, 1), encsession.WithTTL(encsession.NoExpiry))
	for i := range n {
		require.NoError(t, old.AddItems(t.Context(), numbered(i)))
	}
	want := getItems(t, old, 0)
	both := newSession(t, store, testKey(t, 0), encsession.WithReadKeys(testKey(t, 1)), encsession.WithTTL(encsession.NoExpiry))
	calls := 0
	store.replace = func() error {
		if calls++; calls == 3 {
			return errBroken
		}
		return nil
	}
	changed, err := both.Rekey(t.Context())
	require.ErrorIs(t, err, errBroken)
	require.Equal(t, 1000, changed, "the count says what is done")
	require.Equal(t, want, getItems(t, both, 0))
	changed, err = both.Rekey(t.Context())
	require.NoError(t, err)
	require.Equal(t, n-1000, changed)
	require.Equal(t, want, getItems(t, newSession(t, store, testKey(t, 0)), 0))
}

// TestOperationsBesideOthers runs all of them at once on one session, over and over.
func TestOperationsBesideOthers(t *testing.T) {
	const writers, each = 3, 60
	store := encsession.NewMemorySession(sessionID)
	old := newSession(t, store, testKey(t, 1))
	current := newSession(t, store, testKey(t, 0), encsession.WithReadKeys(testKey(t, 1)))
	var mu sync.Mutex
	popped := map[string]int{}
	var adding, working sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		adding.Go(func() {
			for i := range each {
				session := []*encsession.EncryptedSession{old, current}[i%2]
				if err := session.AddItems(t.Context(), numbered(w*each+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	forever := func(f func() error) {
		working.Go(func() {
			for {
				if err := f(); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 2 {
		forever(func() error { _, err := current.Rekey(t.Context()); return err })
	}
	forever(func() error { _, err := current.Audit(t.Context()); return err })
	forever(func() error { _, err := current.Purge(t.Context(), time.Hour); return err })
	forever(func() error { _, err := current.SealPlaintext(t.Context()); return err })
	forever(func() error {
		item, err := current.PopItem(t.Context())
		if item != nil {
			mu.Lock()
			defer mu.Unlock()
			popped[string(item)]++
		}
		return err
	})
	adding.Wait()
	close(done)
	working.Wait()
	_, err := current.Rekey(t.Context())
	require.NoError(t, err)
	for _, item := range getItems(t, newSession(t, store, testKey(t, 0)), 0) {
		popped[item]++
	}
	require.Len(t, popped, writers*each)
	for item, n := range popped {
		require.Equal(t, 1, n, item)
	}
}

// TestRekeyDoesNotBringBackWhatWasCleared has the session cleared between the look and the swap.
func TestRekeyDoesNotBringBackWhatWasCleared(t *testing.T) {
	store := newFaultyStore()
	require.NoError(t, newSession(t, store.MemorySession, testKey(t, 1)).AddItems(t.Context(), messages(3)...))
	calls := 0
	store.replace = func() error {
		if calls++; calls == 2 {
			require.NoError(t, store.MemorySession.ClearSession(t.Context()))
			require.NoError(t, store.MemorySession.AddItems(t.Context(), numbered(0)))
		}
		return nil
	}
	changed, err := newSession(t, store, testKey(t, 0), encsession.WithReadKeys(testKey(t, 1))).Rekey(t.Context())
	require.NoError(t, err)
	require.Zero(t, changed)
	require.Equal(t, numberedAll(0), contents(t, store))
}

// TestOperationsThroughADecorator works on the envelopes of the outer session, inside those of the inner one.
func TestOperationsThroughADecorator(t *testing.T) {
	inner := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 5))
	require.NoError(t, newSession(t, inner, testKey(t, 1)).AddItems(t.Context(), messages(3)...))
	outer := newSession(t, inner, testKey(t, 0), encsession.WithReadKeys(testKey(t, 1)))
	changed, err := outer.Rekey(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, changed)
	report, err := outer.Audit(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{3, 0}, report.Keys)
	require.Equal(t, texts(messages(3)), getItems(t, outer, 0))
}

// TestErrorsOfSeveralBatches has an item in the second batch that cannot be sealed, and a store that fails in the third.
func TestErrorsOfSeveralBatches(t *testing.T) {
	store := newFaultyStore()
	for i := range 2500 {
		item := numbered(i)
		if i == 1200 {
			item = encsession.Item(`{"__enc__":2}`)
		}
		require.NoError(t, store.MemorySession.AddItems(t.Context(), item))
	}
	calls := 0
	store.replace = func() error {
		if calls++; calls == 4 {
			return errBroken
		}
		return nil
	}
	changed, err := newSession(t, store, testKey(t, 0)).SealPlaintext(t.Context())
	require.Equal(t, 1999, changed)
	require.ErrorIs(t, err, encsession.ErrMalformed)
	require.ErrorContains(t, err, "item 1299 from the newest")
	require.ErrorIs(t, err, errBroken)
}

// TestOperationsPause has a store that keeps all others waiting while it replaces.
func TestOperationsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyStore()
		for i := range 2500 {
			require.NoError(t, store.MemorySession.AddItems(t.Context(), numbered(i)))
		}
		calls := 0
		store.replace = func() error {
			if calls++; calls > 1 { // the first asks whether the store can
				time.Sleep(time.Second)
			}
			return nil
		}
		start := time.Now()
		changed, err := newSession(t, store, testKey(t, 0)).SealPlaintext(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2500, changed)
		require.Equal(t, 5*time.Second, time.Since(start), "three batches and two pauses")

		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		calls = 0
		changed, err = newSession(t, store, testKey(t, 1), encsession.WithReadKeys(testKey(t, 0))).Rekey(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "a pause ends with the context")
		require.Equal(t, 1000, changed)
	})
}
