package encsession_test

import (
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
