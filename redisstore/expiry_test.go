package redisstore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestExpiryInTheMiddleOfAnAdd lets a session expire while a large batch is
// sent to it and added. The items that AddItems has acknowledged are there
// afterwards. They do not expire with the earlier ones.
func TestExpiryInTheMiddleOfAnAdd(t *testing.T) {
	const batch = 50_000
	f := newFixture(t, onServer)
	items := make([]Item, batch)
	for i := range items {
		items[i] = Item("{}")
	}
	k := f.config.keys("s")
	for wait := 2 * time.Millisecond; wait <= 62*time.Millisecond; wait += 5 * time.Millisecond {
		add(t, f.Session("s"), numbered(1, 1)...)
		for _, key := range []string{k.hash, k.messages} {
			require.NoError(t, f.client.PExpire(t.Context(), key, wait).Err())
		}
		store, err := New(f.client, WithPrefix(f.config.prefix), WithKeyTTL(time.Hour))
		require.NoError(t, err)
		add(t, store.Session("s"), items...)
		require.GreaterOrEqual(t, f.client.LLen(t.Context(), k.messages).Val(), int64(batch), "expiry after %v", wait)
		require.Greater(t, f.client.PTTL(t.Context(), k.messages).Val(), time.Minute)
		require.Equal(t, "s", f.client.HGet(t.Context(), k.hash, "session_id").Val())
		require.NoError(t, store.Session("s").ClearSession(t.Context()))
	}
}

// TestAddWithoutTTLToAnEmptySessionThatExpires: such an add must not leave a
// list without the hash that names it.
func TestAddWithoutTTLToAnEmptySessionThatExpires(t *testing.T) {
	f := newFixture(t, onServer)
	expiring, err := New(f.client, WithPrefix(f.config.prefix), WithKeyTTL(time.Hour))
	require.NoError(t, err)
	k := f.config.keys("s")
	add(t, expiring.Session("s"), numbered(1, 1)...)
	add(t, f.Session("s"), numbered(2, 2)...)
	require.Greater(t, f.client.PTTL(t.Context(), k.hash).Val(), time.Minute, "the expiry of the other store is left")
	require.Greater(t, f.client.PTTL(t.Context(), k.messages).Val(), time.Minute)

	for range 2 {
		_, err = f.Session("s").PopItem(t.Context())
		require.NoError(t, err)
	}
	add(t, f.Session("s"), numbered(3, 3)...)
	require.Equal(t, time.Duration(-1), f.client.PTTL(t.Context(), k.messages).Val(), "a new list")
	require.Equal(t, time.Duration(-1), f.client.PTTL(t.Context(), k.hash).Val())
}
