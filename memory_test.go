package encsession_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

func TestMemorySessionRefusesWhatIsNotAnItem(t *testing.T) {
	for name, item := range invalidItems {
		session := encsession.NewMemorySession(sessionID)
		require.NoError(t, session.AddItems(t.Context(), numbered(0), numbered(1)))
		err := session.AddItems(t.Context(), numbered(2), item)
		require.ErrorIs(t, err, encsession.ErrInvalidItem, name)
		require.ErrorContains(t, err, "encsession: MemorySession.AddItems: item 1")
		require.NotContains(t, err.Error(), "secret")
		if item != nil { // which removes
			changed, err := session.RewriteItems(t.Context(), 2, func([]encsession.Item) ([]encsession.Item, bool) {
				return []encsession.Item{nil, item}, true
			})
			require.Zero(t, changed)
			require.ErrorIs(t, err, encsession.ErrInvalidItem, name)
			require.ErrorContains(t, err, "encsession: MemorySession.RewriteItems: edit: item 1 of a batch")
			require.NotContains(t, err.Error(), "secret")
		}
		require.Equal(t, numberedAll(0, 1), getItems(t, session, 0))
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
	changed, err := session.RewriteItems(t.Context(), 1, noEdit)
	require.NoError(t, err)
	require.Zero(t, changed)
	require.NoError(t, session.AddItems(t.Context(), numbered(1)))
	require.Equal(t, numberedAll(1), getItems(t, &session, 0))
}

// TestMemorySessionRewritesRows shows that equal items are separate rows: each
// can be kept, replaced or removed.
func TestMemorySessionRewritesRows(t *testing.T) {
	session := encsession.NewMemorySession(sessionID)
	a, b, c := numbered(1), numbered(2), numbered(3)
	require.NoError(t, session.AddItems(t.Context(), a, b, a, b, a))
	changed, err := session.RewriteItems(t.Context(), 5, func(stored []encsession.Item) ([]encsession.Item, bool) {
		require.Equal(t, texts([]encsession.Item{a, b, a, b, a}), texts(stored))
		return []encsession.Item{b, a, nil, slices.Clone(b), c}, true
	})
	require.NoError(t, err)
	require.Equal(t, 4, changed, "an equal item is no change")
	require.Equal(t, texts([]encsession.Item{c, b, a, b}), getItems(t, session, 0))
}

// TestMemorySessionPassesOverWhatOthersHaveChanged changes the session within
// edit. Another pass replaces one item and removes another. The newest is
// popped and added again, which makes it another row.
func TestMemorySessionPassesOverWhatOthersHaveChanged(t *testing.T) {
	session := encsession.NewMemorySession(sessionID)
	for i := range 5 {
		require.NoError(t, session.AddItems(t.Context(), numbered(i)))
	}
	changed, err := session.RewriteItems(t.Context(), 5, func([]encsession.Item) ([]encsession.Item, bool) {
		popped, err := session.PopItem(t.Context())
		require.NoError(t, err)
		require.NoError(t, session.AddItems(t.Context(), popped))
		_, err = session.RewriteItems(t.Context(), 5, func(stored []encsession.Item) ([]encsession.Item, bool) {
			return []encsession.Item{stored[0], message("theirs"), nil, stored[3], stored[4]}, false
		})
		require.NoError(t, err)
		return []encsession.Item{nil, nil, nil, nil, message("ours")}, true
	})
	require.NoError(t, err)
	require.Equal(t, 2, changed)
	require.Equal(t, []string{string(message("ours")), string(message("theirs")), string(numbered(4))}, getItems(t, session, 0))

	// edit clears the session, so no row of the batch is left.
	changed, err = session.RewriteItems(t.Context(), 5, func(stored []encsession.Item) ([]encsession.Item, bool) {
		require.NoError(t, session.ClearSession(t.Context()))
		return make([]encsession.Item, len(stored)), true
	})
	require.NoError(t, err)
	require.Zero(t, changed)
}

func TestMemorySessionRewritesInBatches(t *testing.T) {
	session := encsession.NewMemorySession(sessionID)
	for i := range 5000 {
		require.NoError(t, session.AddItems(t.Context(), numbered(i)))
	}
	for first, want := range map[int][]int{
		-1:   {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000, 977},
		0:    {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000, 977},
		300:  {300, 600, 1000, 1000, 1000, 1000, 100},
		1000: {1000, 1000, 1000, 1000, 1000},
		9000: {1000, 1000, 1000, 1000, 1000},
	} {
		var sizes []int
		newest := 4999
		changed, err := session.RewriteItems(t.Context(), first, func(stored []encsession.Item) ([]encsession.Item, bool) {
			sizes = append(sizes, len(stored))
			for _, item := range stored {
				require.Equal(t, string(numbered(newest)), string(item))
				newest--
			}
			require.NoError(t, session.AddItems(t.Context(), message("meanwhile")))
			return nil, true
		})
		require.NoError(t, err)
		require.Zero(t, changed)
		require.Equal(t, want, sizes, "first = %d", first)
		for range sizes {
			_, err := session.PopItem(t.Context())
			require.NoError(t, err)
		}
	}

	// The items have 300 kB each, so the fourth reaches 1 MiB.
	require.NoError(t, session.ClearSession(t.Context()))
	for range 11 {
		require.NoError(t, session.AddItems(t.Context(), message(strings.Repeat("x", 300_000))))
	}
	var sizes []int
	_, err := session.RewriteItems(t.Context(), 1000, func(stored []encsession.Item) ([]encsession.Item, bool) {
		sizes = append(sizes, len(stored))
		return nil, len(sizes) < 3
	})
	require.NoError(t, err)
	require.Equal(t, []int{4, 4, 3}, sizes)
}

func TestAnErrorOfMemorySessionLeavesItsBatch(t *testing.T) {
	for name, tt := range map[string]struct {
		second func(cancel func(), stored []encsession.Item) []encsession.Item
		want   string
	}{
		"too few":  {func(_ func(), stored []encsession.Item) []encsession.Item { return stored[:1] }, "edit returned 1 items for a batch of 2"},
		"too many": {func(_ func(), stored []encsession.Item) []encsession.Item { return make([]encsession.Item, 3) }, "edit returned 3 items for a batch of 2"},
		"none":     {func(func(), []encsession.Item) []encsession.Item { return []encsession.Item{} }, "edit returned 0 items for a batch of 2"},
		"cancelled": {func(cancel func(), _ []encsession.Item) []encsession.Item {
			cancel()
			return make([]encsession.Item, 2)
		}, context.Canceled.Error()},
		"then cancelled": {func(cancel func(), _ []encsession.Item) []encsession.Item { cancel(); return nil }, context.Canceled.Error()},
	} {
		session := encsession.NewMemorySession(sessionID)
		require.NoError(t, session.AddItems(t.Context(), messages(9)...))
		ctx, cancel := context.WithCancel(t.Context())
		batches := 0
		changed, err := session.RewriteItems(ctx, 1, func(stored []encsession.Item) ([]encsession.Item, bool) {
			if batches++; batches == 1 {
				return []encsession.Item{nil}, true
			}
			require.Equal(t, 2, batches, name)
			return tt.second(cancel, stored), true
		})
		cancel()
		require.EqualError(t, err, "encsession: MemorySession.RewriteItems: "+tt.want, name)
		require.Equal(t, 1, changed, name)
		require.Equal(t, texts(messages(8)), getItems(t, session, 0), name)
	}
	session := encsession.NewMemorySession(sessionID)
	_, err := session.RewriteItems(t.Context(), 1, nil)
	require.ErrorContains(t, err, "edit is nil")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = session.RewriteItems(ctx, 1, noEdit)
	require.ErrorIs(t, err, context.Canceled)
}

// TestMemorySessionKeepsItsBytes changes items that an EncryptedSession has
// returned. Its plaintext items are the ones that the store returned.
func TestMemorySessionKeepsItsBytes(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext())
	require.NoError(t, store.AddItems(t.Context(), encsession.Item(`{"plain":1}`)))
	require.NoError(t, session.AddItems(t.Context(), encsession.Item(`{"sealed":1}`)))
	before := getItems(t, store, 0)
	items, err := session.GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, items, 2)
	for _, item := range items {
		for i := range item[:cap(item)] {
			item[:cap(item)][i] = 'x'
		}
	}
	require.Equal(t, before, getItems(t, store, 0))
}

// TestMemorySessionSharesNoBytes is for the race detector. It changes the
// arguments and the results of the methods while others read.
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
					added := []encsession.Item{numbered(1), numbered(2)}
					items = append(items, added...)
					err = session.AddItems(t.Context(), added...)
				}
				if err == nil {
					_, err = session.RewriteItems(t.Context(), 1+i, func(stored []encsession.Item) ([]encsession.Item, bool) {
						new := slices.Clone(stored)
						new[0] = numbered(1 + i%2)
						items = append(items, new[0]) // the store must have copied it
						return new, i > 1
					})
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
		require.Contains(t, []string{string(numbered(1)), string(numbered(2))}, item, fmt.Sprintf("%q", item))
	}
}

// TestMemorySessionTakesAnyFirst asks for first batches that are larger than a
// batch can be. The size of the next batch must not overflow.
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

// TestMemorySessionTellsEqualRowsApart is stricter than the suite, which also
// allows stores without row IDs.
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
