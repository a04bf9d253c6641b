package encsession

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"
)

// TestEachStoredItemIsOpenedOnce counts how often the keys are asked for, which is once an opening.
func TestEachStoredItemIsOpenedOnce(t *testing.T) {
	key, err := ParseKey(GenerateKey())
	require.NoError(t, err)
	wrong, err := ParseKey(GenerateKey())
	require.NoError(t, err)
	for _, limit := range []int{0, 1, 3, 10, 100} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			const readable, unreadable = 20, 100
			store := NewMemorySession("user-123")
			right, err := New(store, key)
			require.NoError(t, err)
			foreign, err := New(store, wrong)
			require.NoError(t, err)
			for range readable {
				require.NoError(t, right.AddItems(t.Context(), Item(`{}`)))
			}
			for range unreadable {
				require.NoError(t, foreign.AddItems(t.Context(), Item(`{}`)))
			}
			opened, keys := 0, right.sealer.keys
			right.sealer.keys = func() []*fernet.Key {
				opened++
				return keys()
			}
			items, err := right.GetItems(t.Context(), limit)
			require.NoError(t, err)
			want := min(limit, readable)
			if limit == 0 {
				want = readable
			}
			require.Len(t, items, want)
			require.Equal(t, unreadable+want, opened)
		})
	}
}

func TestDouble(t *testing.T) {
	require.Equal(t, 2, double(1))
	require.Equal(t, math.MaxInt-1, double(math.MaxInt/2))
	require.Equal(t, 0, double(math.MaxInt/2+1))
	require.Equal(t, 0, double(math.MaxInt))
}

// TestAClockBeforeTheEpoch takes everything for future, rather than for very old.
func TestAClockBeforeTheEpoch(t *testing.T) {
	s := &Sealer{ttl: time.Hour}
	clock := time.Unix(-10, 0)
	require.ErrorIs(t, s.judge(opened{sealed: 61, payload: []byte(`{}`)}, clock), ErrFuture)
	require.NoError(t, s.judge(opened{sealed: 60, payload: []byte(`{}`)}, clock))
	require.NoError(t, s.judge(opened{sealed: 0, payload: []byte(`{}`)}, clock))
}
