package encsession_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// keyCounts returns the KeyCounts of the test keys with these numbers.
func keyCounts(t testing.TB, keys string, items ...int) []encsession.KeyCount {
	t.Helper()
	require.Len(t, items, len(keys))
	counts := make([]encsession.KeyCount, len(items))
	for i := range items {
		counts[i] = encsession.KeyCount{Fingerprint: testKey(t, keys[i]-'0').Fingerprint(), Items: items[i]}
	}
	return counts
}

func audit(t testing.TB, session *encsession.EncryptedSession) encsession.Report {
	t.Helper()
	report, err := session.Audit(t.Context())
	require.NoError(t, err)
	return report
}

func TestAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := [3]forger{}
		for n := range f {
			f[n] = newForger(testIKM(byte(n)), sessionID)
		}
		raw := &rawStore{MemorySession: encsession.NewMemorySession(sessionID), items: []encsession.Item{
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
		for name, store := range map[string]encsession.Session{"Rewriter": raw, "four methods": fourMethods{raw}} {
			for _, opts := range [][]encsession.Option{nil, {encsession.WithPlaintext()}} {
				var log dropLog
				session := newSession(t, store, encsession.Keyring{Current: testKey(t, 0), Older: []encsession.Key{testKey(t, 1), testKey(t, 2)}},
					append(opts, log.option(), encsession.WithStrictReads())...)
				require.Equal(t, encsession.Report{
					Items: 10, Readable: 2, Plaintext: 1, Expired: 2, Future: 1, Undecryptable: 1, Malformed: 3,
					Keys:   keyCounts(t, "012", 3, 1, 2),
					Oldest: time.Unix(bubbleStart-10000, 0).UTC(), Newest: time.Unix(bubbleStart+61, 0).UTC(),
				}, audit(t, session), name)
				require.Empty(t, log.drops)
				require.Len(t, raw.items, 10)
			}
			report := audit(t, newSession(t, store, testKey(t, 8), encsession.WithTTL(encsession.NoExpiry)))
			require.Equal(t, encsession.Report{Items: 10, Plaintext: 1, Undecryptable: 7, Malformed: 2, Keys: keyCounts(t, "8", 0)}, report)
		}
	})
}

func TestAuditOfNothing(t *testing.T) {
	ring := encsession.Keyring{Current: testKey(t, 0), Older: []encsession.Key{testKey(t, 1)}}
	report := audit(t, newSession(t, encsession.NewMemorySession(sessionID), ring))
	require.Equal(t, encsession.Report{Keys: keyCounts(t, "01", 0, 0)}, report)
	require.True(t, report.Oldest.IsZero())
}

// TestAuditHasOneCountForEachKey uses a keyring that holds one key twice and
// two raw secrets, which have one fingerprint.
func TestAuditHasOneCountForEachKey(t *testing.T) {
	raw := func(s string) encsession.Key {
		key, err := encsession.ParsePythonKey(s)
		require.NoError(t, err)
		return key
	}
	store := encsession.NewMemorySession(sessionID)
	one, two := newForger([]byte("raw one"), sessionID), newForger([]byte("raw two"), sessionID)
	twice := newForger(testIKM(1), sessionID)
	require.NoError(t, store.AddItems(t.Context(), one.envelope(0, `{}`), two.envelope(0, `{}`), two.envelope(0, `{}`), twice.envelope(0, `{}`)))
	ring := encsession.Keyring{Current: testKey(t, 1), Older: []encsession.Key{raw("raw one"), testKey(t, 1), raw("raw two")}}
	fingerprint := testKey(t, 1).Fingerprint()
	require.Equal(t, []encsession.KeyCount{{fingerprint, 1}, {"raw", 1}, {fingerprint, 0}, {"raw", 2}}, audit(t, newSession(t, store, ring)).Keys)
}

// TestAuditOfExtremeTimes shows that a Report can be encoded even if items were
// sealed after the year 9999.
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
		encoded, err := json.Marshal(audit(t, newSession(t, store, testKey(t, 0))))
		require.NoError(t, err)
		require.Contains(t, string(encoded), `"Oldest":"`+want+`","Newest":"`+want+`"`)
	}
}

func TestAuditErrors(t *testing.T) {
	store := stored(t, "rr")
	fail := func() error { return errBroken }
	for name, tt := range map[string]struct {
		session  *encsession.EncryptedSession
		breakIt  func()
		contexts int // how often the context is checked: by the decorator, also for each item and each batch, and by the store
	}{
		"Rewriter":     {newSession(t, store, testKey(t, 0)), func() { store.rewrite = fail }, 7},
		"four methods": {newSession(t, fourMethods{store}, testKey(t, 0)), func() { store.get = func(int) error { return fail() } }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			for left := range tt.contexts {
				report, err := tt.session.Audit(&countdown{t.Context(), left})
				require.ErrorIs(t, err, context.Canceled, left)
				require.Zero(t, report)
			}
			_, err := tt.session.Audit(&countdown{t.Context(), tt.contexts})
			require.NoError(t, err)
			tt.breakIt()
			report, err := tt.session.Audit(t.Context())
			require.ErrorIs(t, err, errBroken)
			require.ErrorContains(t, err, "encsession: Audit: store: ")
			require.Zero(t, report)
		})
	}
	_, err := new(encsession.EncryptedSession).Audit(t.Context())
	require.ErrorContains(t, err, "the error of New was ignored")
}

// TestAuditStreams audits a store of several batches. Audit gets one batch at a
// time, and does not pause between them.
func TestAuditStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyStore()
		require.NoError(t, newSession(t, store.MemorySession, testKey(t, 0)).AddItems(t.Context(), messages(2500)...))
		batches := 0
		session := newSession(t, editedStore{store, func(_ int, new []encsession.Item) error {
			batches++
			require.Nil(t, new, "nothing changes")
			time.Sleep(time.Second) // a slow store
			return nil
		}}, testKey(t, 0))
		start := time.Now()
		require.Equal(t, 2500, audit(t, session).Readable)
		require.Equal(t, 3, batches)
		require.Equal(t, 3*time.Second, time.Since(start), "a pass that changes nothing has no pauses")
		require.Zero(t, store.gets.Load())
	})
}

// TestAuditFallsBackToGetItems has two stores: one says before the first edit
// that it cannot rewrite, and the other says so later.
func TestAuditFallsBackToGetItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "rru")
		session := newSession(t, store, testKey(t, 0))
		store.rewrite = func() error { return fmt.Errorf("a decorator: %w", errors.ErrUnsupported) }
		report := audit(t, session)
		require.Equal(t, 3, report.Items)
		require.EqualValues(t, 1, store.gets.Load())

		inner := newSession(t, fourMethods{store}, testKey(t, 0))
		require.Equal(t, 2, audit(t, newSession(t, decorated{inner}, testKey(t, 1))).Items, "what the inner one can read")

		store.rewrite = nil
		late := editedStore{store, func(int, []encsession.Item) error { return syscall.EOPNOTSUPP }}
		report, err := newSession(t, late, testKey(t, 0)).Audit(t.Context())
		require.ErrorIs(t, err, syscall.EOPNOTSUPP)
		require.Zero(t, report)
	})
}

// TestAuditAsksTheSourceOnce uses a source that returns another current key
// each time.
func TestAuditAsksTheSourceOnce(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	require.NoError(t, newSession(t, store, testKey(t, 0)).AddItems(t.Context(), messages(2500)...))
	for _, store := range []encsession.Session{store, fourMethods{store}} {
		asked := byte(0)
		session := newSession(t, store, encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) {
			asked++
			return encsession.Keyring{Current: testKey(t, asked-1)}, nil
		}))
		require.Equal(t, keyCounts(t, "0", 2500), audit(t, session).Keys)
		require.EqualValues(t, 1, asked)
	}
}
