package encsession_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

func TestLaterOptionsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		session := newSession(t, encsession.NewMemorySession("the store's ID"), testKey(t, 0),
			encsession.WithTTL(time.Hour), encsession.WithTTL(time.Second),
			encsession.WithSessionID("first"), encsession.WithSessionID(sessionID))
		require.Equal(t, sessionID, session.SessionID())
		require.NoError(t, session.AddItems(t.Context(), message("a")))
		time.Sleep(2 * time.Second)
		require.Empty(t, getItems(t, session, 0))
	})
}

func TestDefaultTTL(t *testing.T) {
	require.Equal(t, 10*time.Minute, encsession.DefaultTTL)
	synctest.Test(t, func(t *testing.T) {
		session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0))
		require.NoError(t, session.AddItems(t.Context(), message("a")))
		time.Sleep(encsession.DefaultTTL)
		require.Len(t, getItems(t, session, 0), 1)
		time.Sleep(time.Second)
		require.Empty(t, getItems(t, session, 0))
	})
}

func TestWithSessionID(t *testing.T) {
	store := encsession.NewMemorySession("the store's ID")
	var ids []string // that an observer and a KeySource get
	source := encsession.KeyFunc(func(ctx context.Context, id string) (encsession.Keyring, error) {
		ids = append(ids, id)
		return testKey(t, 0).Keys(ctx, id)
	})
	session := newSession(t, store, source, encsession.WithSessionID(sessionID),
		encsession.WithObserver(func(_ context.Context, e encsession.Event) { ids = append(ids, e.SessionID) }))
	require.Equal(t, sessionID, session.SessionID())
	require.NoError(t, session.AddItems(t.Context(), message("a")))
	require.Equal(t, []string{sessionID, sessionID}, ids)
	items, err := store.GetItems(t.Context(), 0)
	require.NoError(t, err)
	_, err = newSealer(t, testKey(t, 0)).Open(items[0])
	require.NoError(t, err, "sealed for the ID of the option")
	require.Equal(t, "the store's ID", newSession(t, store, testKey(t, 0)).SessionID())
}

// TestWithSessionIDOfAStoreThatHasNone shows that the store then needs no ID.
func TestWithSessionIDOfAStoreThatHasNone(t *testing.T) {
	session := newSession(t, encsession.NewMemorySession(""), testKey(t, 0), encsession.WithSessionID(sessionID))
	require.NoError(t, session.AddItems(t.Context(), message("a")))
	require.Len(t, getItems(t, session, 0), 1)
}

func TestPlaintextIsDroppedByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log dropLog
		session := newSession(t, stored(t, "prp"), testKey(t, 0), log.option())
		require.Equal(t, numberedAll(1), getItems(t, session, 0))
		log.requireDrops(t, encsession.ErrPlaintext, encsession.ErrPlaintext)
		item, err := session.PopItem(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(numbered(1)), string(item))
		item, err = session.PopItem(t.Context())
		require.NoError(t, err)
		require.Nil(t, item)
		require.Equal(t, numberedAll(0, 2), getItems(t, session.Unwrap(), 0), "plaintext is still stored")
	})
}

func TestWithPlaintext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log dropLog
		session := newSession(t, stored(t, "prp"), testKey(t, 0), encsession.WithPlaintext(), log.option())
		require.Equal(t, numberedAll(0, 1, 2), getItems(t, session, 0))
		time.Sleep(24 * time.Hour)
		require.Equal(t, numberedAll(0, 2), getItems(t, session, 0), "plaintext has no age")
		log.requireDrops(t, encsession.ErrExpired)
		for _, want := range []int{2, 0} {
			item, err := session.PopItem(t.Context())
			require.NoError(t, err)
			require.Equal(t, string(numbered(want)), string(item))
		}
	})
}

func TestWithStrictReads(t *testing.T) {
	for _, tt := range []struct {
		word  string
		limit int
		want  error
		item  string
	}{
		{"rxr", 0, nil, ""},
		{"rur", 1, nil, ""}, // not judged
		{"rur", 2, encsession.ErrUndecryptable, "item 1 from the newest"},
		{"rmx", 0, encsession.ErrMalformed, "item 1 from the newest"},
		{"umf", 0, encsession.ErrFuture, "item 0 from the newest"},
		{"rrp", 0, encsession.ErrPlaintext, "item 0 from the newest"},
		{"rurxxx", 2, encsession.ErrUndecryptable, "item 4 from the newest"}, // expired items are no errors
	} {
		t.Run(tt.word, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log dropLog
				session := newSession(t, stored(t, tt.word), testKey(t, 0), encsession.WithStrictReads(), log.option())
				items, err := session.GetItems(t.Context(), tt.limit)
				require.ErrorIs(t, err, tt.want)
				if tt.want == nil {
					require.NotEmpty(t, items)
					return
				}
				require.Nil(t, items)
				require.ErrorContains(t, err, "encsession: GetItems: "+tt.item)
				require.Empty(t, log.drops)

				before := getItems(t, session.Unwrap(), 0)
				if strings.TrimRight(tt.word, "x") == "rur" {
					return // the newest one that has not expired can be popped
				}
				item, err := session.PopItem(t.Context())
				require.Nil(t, item)
				require.ErrorIs(t, err, tt.want)
				require.Equal(t, before, getItems(t, session.Unwrap(), 0))
			})
		})
	}
	plain := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0), encsession.WithStrictReads(), encsession.WithPlaintext())
	require.NoError(t, plain.Unwrap().AddItems(t.Context(), numbered(0)))
	require.Equal(t, numberedAll(0), getItems(t, plain, 0), "plaintext passes through a strict read too")
}

// TestWithUnreadableHistory is about AddItems; SealPlaintext has tests of its
// own.
func TestWithUnreadableHistory(t *testing.T) {
	for word, reason := range map[string]error{"u": encsession.ErrUndecryptable, "p": encsession.ErrPlaintext} {
		synctest.Test(t, func(t *testing.T) {
			store := stored(t, word)
			require.ErrorIs(t, newSession(t, store, testKey(t, 0)).AddItems(t.Context(), message("a")), reason)
			require.Len(t, getItems(t, store, 0), 1)
			store.gets.Store(0)
			session := newSession(t, store, testKey(t, 0), encsession.WithUnreadableHistory())
			require.NoError(t, session.AddItems(t.Context(), message("a")))
			require.Zero(t, store.gets.Load(), "for database users who may only insert")
			require.Len(t, getItems(t, session, 0), 1)
		})
	}
}
