package encsession

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"
)

// onUse calls f whenever a session uses its keys, which is once for each item
// that it seals or opens.
func onUse(s *EncryptedSession, f func()) {
	sealer := &s.keys.Load().sealer
	keys := sealer.keys
	sealer.keys = func() []fernet.Key { f(); return keys() }
}

// countUses counts how often a session seals or opens an item.
func countUses(s *EncryptedSession) *atomic.Int64 {
	var uses atomic.Int64
	onUse(s, func() { uses.Add(1) })
	return &uses
}

// countingStore counts the reads, and the items that they have returned.
type countingStore struct {
	Session
	reads, items int
}

func (s *countingStore) GetItems(ctx context.Context, limit int) ([]Item, error) {
	items, err := s.Session.GetItems(ctx, limit)
	s.reads++
	s.items += len(items)
	return items, err
}

// TestUnreadableItemsCostLittle reads a long history whose newest items are
// unreadable. Each of them is opened once. The store is asked for few more
// items than necessary, in few reads.
func TestUnreadableItemsCostLittle(t *testing.T) {
	key, err := ParseKey(GenerateKey())
	require.NoError(t, err)
	wrong, err := ParseKey(GenerateKey())
	require.NoError(t, err)
	for _, limit := range []int{1, 2, 3, 7, 10, 50} {
		for _, unreadable := range []int{0, 1, 2, 3, 9, 10, 11, 20, 21, 49, 50, 51, 64, 99, 100, 101, 127, 128, 129, 150, 199, 200, 201} {
			t.Run(fmt.Sprintf("%d of %d", limit, unreadable), func(t *testing.T) {
				store := &countingStore{Session: NewMemorySession("user-123")}
				right, err := New(store, key)
				require.NoError(t, err)
				foreign, err := New(store, wrong, WithUnreadableHistory())
				require.NoError(t, err)
				require.NoError(t, right.AddItems(t.Context(), slices.Repeat([]Item{Item(`{}`)}, 500)...))
				require.NoError(t, foreign.AddItems(t.Context(), slices.Repeat([]Item{Item(`{}`)}, unreadable)...))
				opened := countUses(right)
				store.reads, store.items = 0, 0 // the first AddItems of right has looked at the history
				items, err := right.GetItems(t.Context(), limit)
				require.NoError(t, err)
				require.Len(t, items, limit)
				require.EqualValues(t, unreadable+limit, opened.Load())
				require.LessOrEqual(t, store.items, 5*(unreadable+limit))
				require.LessOrEqual(t, float64(store.reads), math.Ceil(math.Log2(float64(unreadable)/float64(limit)+2)))
			})
		}
	}
}

// TestAHistoryThatIsUnreadableIsOpenedOnce asks for more items than are
// readable.
func TestAHistoryThatIsUnreadableIsOpenedOnce(t *testing.T) {
	key, err := ParseKey(GenerateKey())
	require.NoError(t, err)
	wrong, err := ParseKey(GenerateKey())
	require.NoError(t, err)
	for _, limit := range []int{0, 1, 3, 100} {
		store := NewMemorySession("user-123")
		session, err := New(store, key)
		require.NoError(t, err)
		require.NoError(t, session.AddItems(t.Context(), Item(`{"a":1}`), Item(`{"b":2}`)))
		foreign, err := New(store, wrong, WithUnreadableHistory())
		require.NoError(t, err)
		require.NoError(t, foreign.AddItems(t.Context(), slices.Repeat([]Item{Item(`{}`)}, 100)...))
		opened := countUses(session)
		items, err := session.GetItems(t.Context(), limit)
		require.NoError(t, err)
		want := 2
		if limit == 1 {
			want = 1
		}
		require.Len(t, items, want)
		require.EqualValues(t, 100+want, opened.Load())
	}
}

// TestEqualItemsAreOpenedOnceEach stores one unreadable envelope and two
// readable ones many times.
func TestEqualItemsAreOpenedOnceEach(t *testing.T) {
	key, err := ParseKey(GenerateKey())
	require.NoError(t, err)
	wrong, err := ParseKey(GenerateKey())
	require.NoError(t, err)
	for _, limit := range []int{1, 3, 10} {
		store := NewMemorySession("user-123")
		session, err := New(store, key)
		require.NoError(t, err)
		foreign, err := New(store, wrong, WithUnreadableHistory())
		require.NoError(t, err)
		require.NoError(t, session.AddItems(t.Context(), Item(`{}`), Item(`{}`)))
		require.NoError(t, foreign.AddItems(t.Context(), Item(`{}`)))
		stored, err := store.GetItems(t.Context(), 0)
		require.NoError(t, err)
		require.NoError(t, store.ClearSession(t.Context()))
		for range 20 {
			require.NoError(t, store.AddItems(t.Context(), stored[0], stored[0], stored[2], stored[1], stored[2], stored[2]))
		}
		opened := countUses(session)
		items, err := session.GetItems(t.Context(), limit)
		require.NoError(t, err)
		require.Len(t, items, limit)
		require.EqualValues(t, map[int]int{1: 3, 3: 6, 10: 21}[limit], opened.Load())
	}
}

func TestWider(t *testing.T) {
	require.Equal(t, 30, wider(10, 10))
	require.Equal(t, 70, wider(30, 10))
	require.Equal(t, math.MaxInt, wider(math.MaxInt/2, 1))
	require.Equal(t, 0, wider(math.MaxInt/2+1, 1))
	require.Equal(t, 0, wider(math.MaxInt, math.MaxInt))
}

// TestAClockBeforeTheEpoch shows that items then seem to be from the future,
// rather than very old.
func TestAClockBeforeTheEpoch(t *testing.T) {
	s := &Sealer{ttl: time.Hour}
	clock := unixTime(time.Unix(-10, 0))
	require.ErrorIs(t, s.judge(opened{sealed: 61, payload: []byte(`{}`)}, clock), ErrFuture)
	require.NoError(t, s.judge(opened{sealed: 60, payload: []byte(`{}`)}, clock))
	require.NoError(t, s.judge(opened{sealed: 0, payload: []byte(`{}`)}, clock))
}
