//go:build !race

package redisstore

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sessiontest"
)

// TestMiniredis runs the conformance suite over miniredis, a Redis inside the
// test process. Users test programs that use this package with it. miniredis
// and its scripts are slow under the race detector.
func TestMiniredis(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	const ttl = 24 * time.Hour
	connect := func() *Store {
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { _ = client.Close() })
		store, err := New(client, WithKeyTTL(ttl))
		require.NoError(t, err)
		return store
	}
	store := connect()
	sessiontest.Run(t, func(_ *testing.T, id string) encsession.Session { return store.Session(id) },
		sessiontest.WithSessions(func(ctx context.Context) iter.Seq2[encsession.SessionInfo, error] {
			return store.Sessions(ctx)
		}),
		sessiontest.WithReopen(func(t *testing.T) {
			require.NoError(t, store.client.Close())
			store = connect()
		}),
		sessiontest.WithExpiry(func(*testing.T) { server.FastForward(ttl) }))
}
