package encsession_test

import (
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

func TestMemorySessionRefusesWhatIsNotAnItem(t *testing.T) {
	for name, item := range invalidItems {
		session := encsession.NewMemorySession(sessionID)
		require.NoError(t, session.AddItems(t.Context(), numbered(0)))
		err := session.AddItems(t.Context(), numbered(1), item)
		require.ErrorIs(t, err, encsession.ErrInvalidItem, name)
		require.ErrorContains(t, err, "item 1")
		require.NotContains(t, err.Error(), "secret")
		if item != nil {
			_, err = session.ReplaceItems(t.Context(), []encsession.Item{numbered(0)}, []encsession.Item{item})
			require.ErrorIs(t, err, encsession.ErrInvalidItem, name)
		}
		require.Equal(t, numberedAll(0), getItems(t, session, 0))
	}
}

func TestMemorySessionKeepsBytes(t *testing.T) {
	session := encsession.NewMemorySession(sessionID)
	item := " {\"b\" : 1.0,\n\"a\":1e2, \"a\":\"\\u0041\"}\n"
	require.NoError(t, session.AddItems(t.Context(), encsession.Item(item)))
	require.Equal(t, []string{item}, getItems(t, session, 0))
}

func TestZeroMemorySession(t *testing.T) {
	var session encsession.MemorySession
	require.Empty(t, session.SessionID())
	require.NoError(t, session.AddItems(t.Context(), numbered(1)))
	require.Equal(t, numberedAll(1), getItems(t, &session, 0))
}

func TestReplaceItemsMatchesTheNewestFirst(t *testing.T) {
	session := encsession.NewMemorySession(sessionID)
	a, b, c := numbered(1), numbered(2), numbered(3)
	require.NoError(t, session.AddItems(t.Context(), a, b, a, b, a))
	changed, err := session.ReplaceItems(t.Context(), []encsession.Item{a, a, b, c, nil}, []encsession.Item{b, nil, a, c, nil})
	require.NoError(t, err)
	require.Equal(t, 3, changed)
	require.Equal(t, texts([]encsession.Item{a, b, a, b}), getItems(t, session, 0))
}

// TestMemorySessionSharesNoBytes is for the race detector: what PopItem and GetItems return is changed while others read.
func TestMemorySessionSharesNoBytes(t *testing.T) {
	session := encsession.NewMemorySession(sessionID)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 200 {
				items, err := session.GetItems(t.Context(), 0)
				if i%2 == 0 {
					var item encsession.Item
					item, err = session.PopItem(t.Context())
					items = append(items, item)
				}
				if err == nil {
					err = session.AddItems(t.Context(), numbered(1), numbered(2))
				}
				if err != nil {
					t.Error(err)
				}
				for _, item := range items {
					clear(item)
				}
			}
		})
	}
	wg.Wait()
	for _, item := range getItems(t, session, 0) {
		require.Contains(t, []string{string(numbered(1)), string(numbered(2))}, item)
	}
}

// TestMemorySessionTakesAnyFirst is about first batches larger than a batch can
// be, of which the next size must not overflow.
func TestMemorySessionTakesAnyFirst(t *testing.T) {
	session := encsession.NewMemorySession(sessionID)
	const n = 2_500
	for i := range n {
		require.NoError(t, session.AddItems(t.Context(), numbered(i)))
	}
	for _, first := range []int{1_001, math.MaxInt/2 + 1, math.MaxInt} {
		seen := 0
		changed, err := session.RewriteItems(t.Context(), first, func(stored []encsession.Item) ([]encsession.Item, bool) {
			require.LessOrEqual(t, len(stored), 1_000)
			seen += len(stored)
			return nil, true
		})
		require.NoError(t, err)
		require.Zero(t, changed)
		require.Equal(t, n, seen)
	}
}

// TestMemorySessionTellsEqualRowsApart is stricter than the suite, which allows
// for stores without row IDs.
func TestMemorySessionTellsEqualRowsApart(t *testing.T) {
	for name, meanwhile := range map[string]func(*encsession.MemorySession){
		"popped and added again": func(s *encsession.MemorySession) {
			_, err := s.PopItem(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.AddItems(t.Context(), numbered(1)))
		},
		"cleared and filled again": func(s *encsession.MemorySession) {
			require.NoError(t, s.ClearSession(t.Context()))
			require.NoError(t, s.AddItems(t.Context(), numbered(1), numbered(2), numbered(1)))
		},
	} {
		session := encsession.NewMemorySession(sessionID)
		require.NoError(t, session.AddItems(t.Context(), numbered(1), numbered(2), numbered(1)))
		calls := 0
		changed, err := session.RewriteItems(t.Context(), 1, func(stored []encsession.Item) ([]encsession.Item, bool) {
			require.Less(t, calls, 2, "%s: new items go to edit", name)
			calls++
			if calls > 1 {
				return nil, true
			}
			meanwhile(session)
			return []encsession.Item{nil}, true
		})
		require.NoError(t, err)
		require.Zero(t, changed, name)
		require.Equal(t, numberedAll(1, 2, 1), getItems(t, session, 0), name)
	}
}
