package redisstore

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/sessiontest"
)

var (
	_ encsession.Session  = (*Session)(nil)
	_ encsession.Rewriter = (*Session)(nil)

	_ clusterClient = (*redis.ClusterClient)(nil)
	_ singleClient  = (*redis.Client)(nil)
)

// TestSuite runs the conformance suite over the store, and over an
// EncryptedSession over it.
func TestSuite(t *testing.T) {
	key := newKey(t)
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s)
		encrypt := func(t *testing.T, store encsession.Session) encsession.Session {
			session, err := encsession.New(store, key)
			require.NoError(t, err)
			return session
		}
		t.Run("store", func(t *testing.T) {
			f := newFixture(t, s, WithKeyTTL(24*time.Hour))
			store := f.Store
			reopen := func(*testing.T) { // each client is closed when the whole suite has ended
				store = newFixtureOn(t, s.newClient(t), append(s.options[:len(s.options):len(s.options)],
					WithPrefix(f.prefix), WithKeyTTL(24*time.Hour))...).Store
			}
			sessiontest.Run(t, func(_ *testing.T, sessionID string) encsession.Session { return store.Session(sessionID) },
				sessiontest.WithSessions(f.Sessions),
				sessiontest.WithReopen(reopen),
				sessiontest.WithExpiry(f.expireAll))
		})
		t.Run("encrypted", func(t *testing.T) {
			sessiontest.Run(t, func(t *testing.T, sessionID string) encsession.Session {
				return encrypt(t, f.Session(sessionID))
			})
		})
		t.Run("secrets", func(t *testing.T) {
			sessiontest.RunEncrypted(t, func(t *testing.T, sessionID string) (decorator, store encsession.Session) {
				return encrypt(t, f.Session(sessionID)), f.Session(sessionID)
			})
		})
	})
}

// expireAll makes each key of the fixture expire that has an expiry at all.
func (f *fixture) expireAll(t *testing.T) {
	f.eachKey(t, func(pipeline redis.Pipeliner, key string) {
		pipeline.Do(t.Context(), "pexpire", key, 1, "xx")
	})
	time.Sleep(5 * time.Millisecond)
}
