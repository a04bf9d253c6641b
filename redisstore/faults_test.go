package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// methods calls each method that sends something.
var methods = map[string]func(ctx context.Context, s *Session) error{
	"AddItems":     func(ctx context.Context, s *Session) error { return s.AddItems(ctx, Item(`"secret"`), Item(`"2"`)) },
	"GetItems":     func(ctx context.Context, s *Session) error { _, err := s.GetItems(ctx, 0); return err },
	"PopItem":      func(ctx context.Context, s *Session) error { _, err := s.PopItem(ctx); return err },
	"ClearSession": func(ctx context.Context, s *Session) error { return s.ClearSession(ctx) },
	"RewriteItems": func(ctx context.Context, s *Session) error {
		_, err := s.RewriteItems(ctx, 2, func(stored []Item) ([]Item, bool) {
			new := make([]Item, len(stored))
			new[0] = Item(`"secret"`)
			return new, false
		})
		return err
	},
}

func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.newStore(t, func(o *redis.Options) { o.MaxRetries = -1 })
	s.kill(t)
	for method, do := range methods {
		err := do(t.Context(), store.Session("s"))
		require.ErrorContains(t, err, "redisstore: "+method+": ")
		var network *net.OpError
		require.ErrorAs(t, err, &network, method)
		require.Equal(t, "dial", network.Op)
		require.NotContains(t, err.Error(), "carried it out", "nothing was sent")
	}
	for info, err := range store.Sessions(t.Context()) {
		require.Zero(t, info)
		require.ErrorContains(t, err, "redisstore: Sessions: ")
	}
}

// TestRestartBetweenCalls: the connections in a client's pool are dead, and the
// client finds out before it uses them.
func TestRestartBetweenCalls(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	store := s.newStore(t, nil)
	for range 3 {
		var calls sync.WaitGroup
		for n := range 10 {
			calls.Go(func() {
				for method, do := range methods {
					if err := do(t.Context(), store.Session(fmt.Sprint(n))); err != nil {
						t.Errorf("%s: %v", method, err)
					}
				}
			})
		}
		calls.Wait()
		s.kill(t)
		s.start(t)
	}
}

func TestReadOnlyReplica(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	master := startServer(t, "--port", port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
	replica := startServer(t, "--replicaof", "127.0.0.1 "+port)
	direct := master.newStore(t, nil)
	add(t, direct.Session("s"), numbered(1, 3)...)
	store := replica.newStore(t, nil)
	require.Eventually(t, func() bool {
		items, err := store.Session("s").GetItems(t.Context(), 0)
		return err == nil && len(items) == 3
	}, 20*time.Second, 10*time.Millisecond, "the replica does not get the items")
	for method, do := range methods {
		if method == "GetItems" {
			continue
		}
		err := do(t.Context(), store.Session("s"))
		require.ErrorContains(t, err, "redisstore: "+method+": ")
		require.True(t, redis.IsReadOnlyError(err), "%s: %v", method, err)
		require.NotContains(t, err.Error(), "carried it out")
		require.NotContains(t, err.Error(), "secret")
	}
	requireItems(t, store.Session("s"), numbered(1, 3)...)
	requireItems(t, direct.Session("s"), numbered(1, 3)...)
}

// TestMemoryFull fills a server that may not evict anything. Batches are whole
// or absent, and calls that free memory work.
func TestMemoryFull(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
	store := s.newStore(t, nil, WithKeyTTL(time.Hour))
	session := store.Session("s")
	batch := func(n int) (items []Item) {
		for i := range 3 {
			items = append(items, Item(fmt.Sprintf(`{"batch":%d,"n":%d,"c":%q}`, n, i, strings.Repeat("x", 5000))))
		}
		return items
	}
	var stored []Item
	var err error
	for n := 0; n < 1000 && err == nil; n++ {
		if err = session.AddItems(t.Context(), batch(n)...); err == nil {
			stored = append(stored, batch(n)...)
		}
	}
	require.ErrorContains(t, err, "redisstore: AddItems: ")
	require.True(t, redis.IsOOMError(err), "%v", err)
	require.NotContains(t, err.Error(), "xxx")
	require.NotContains(t, err.Error(), "carried it out")
	require.Greater(t, len(stored), 30)
	requireItems(t, session, stored...)

	// A session that nobody has used yet gets neither items nor keys.
	require.True(t, redis.IsOOMError(store.Session("new").AddItems(t.Context(), batch(0)...)))
	require.Zero(t, store.client.Exists(t.Context(), "agents:session:new", "agents:session:new:messages").Val())

	for _, new := range [][]Item{{nil, batch(2000)[0]}, {batch(2000)[0], nil}, {nil, nil}} {
		changed, err := session.RewriteItems(t.Context(), 2, func([]Item) ([]Item, bool) { return new, true })
		require.True(t, redis.IsOOMError(err), "%v", err)
		require.Zero(t, changed)
		requireItems(t, session, stored...)
	}

	last := len(stored) - 1
	n, err := session.RewriteItems(t.Context(), 2, func(stored []Item) ([]Item, bool) {
		return []Item{stored[0], nil}, false // as EncryptedSession pops
	})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	item, err := session.PopItem(t.Context())
	require.NoError(t, err)
	require.Equal(t, string(stored[last]), string(item))
	requireItems(t, session, stored[:last-1]...)
	require.NoError(t, session.ClearSession(t.Context()))
	add(t, session, numbered(1, 3)...)
}

// TestUnknownCommandIsNotQuoted: if the server does not know a command, its
// error quotes the command's arguments.
func TestUnknownCommandIsNotQuoted(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"eval", "rpush", "rpushx", "hset"} {
		s := startServer(t, "--rename-command", command, "")
		store := s.newStore(t, nil)
		for method, do := range methods {
			if err := do(t.Context(), store.Session("s")); err != nil {
				require.ErrorContains(t, err, "redisstore: "+method+": ")
				require.NotContains(t, err.Error(), "secret")
				require.NotContains(t, err.Error(), "local hash")
			}
		}
		keys, err := store.client.Keys(t.Context(), "*").Result()
		require.NoError(t, err)
		require.Empty(t, keys, "without %s", command)
	}
}

// TestKilledServer kills a server that writes every command to disk, and starts
// it again, in the middle of adds and pops. Every batch that AddItems has
// acknowledged is there once. No batch is there in part or twice. No item is
// popped twice or comes back. A PopItem that was cut off may have removed an
// item; its error says so.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	const kills, adders, poppers, stock = 8, 3, 3, 5000
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	// After as many failures to connect as it may have connections, a client
	// rests for a second.
	store := s.newStore(t, func(o *redis.Options) { o.PoolSize = 5000 })
	add(t, store.Session("stock"), numbered(1, stock)...)

	var mu sync.Mutex
	var acknowledged, unknown [][]Item // batches
	var popped []Item
	var cutOff int
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for adder := range adders {
		workers.Go(func() {
			session := store.Session("added")
			for n := 0; ctx.Err() == nil; n++ {
				var batch []Item
				for i := range 1 + n%4 {
					batch = append(batch, Item(fmt.Sprintf(`{"adder":%d,"batch":%d,"i":%d}`, adder, n, i)))
				}
				err := session.AddItems(context.Background(), batch...)
				mu.Lock()
				switch {
				case err == nil:
					acknowledged = append(acknowledged, batch)
				case strings.Contains(err.Error(), "carried it out"):
					unknown = append(unknown, batch)
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(time.Millisecond) // until the server is there again
				}
			}
		})
	}
	for range poppers {
		workers.Go(func() {
			session := store.Session("stock")
			for ctx.Err() == nil {
				item, err := session.PopItem(context.Background())
				mu.Lock()
				switch {
				case err == nil && item != nil:
					popped = append(popped, item)
				case err != nil && strings.Contains(err.Error(), "carried it out"):
					cutOff++
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for range kills {
		time.Sleep(20*time.Millisecond + rand.N(60*time.Millisecond)) // a random moment
		s.kill(t)
		s.start(t)
	}
	stop()
	workers.Wait()

	items, err := store.Session("added").GetItems(t.Context(), 0)
	require.NoError(t, err)
	at := make(map[string]int)
	for i, item := range items {
		require.NotContains(t, at, string(item), "an item is there twice")
		at[string(item)] = i
	}
	whole := func(batch []Item) bool {
		first, ok := at[string(batch[0])]
		for i, item := range batch {
			n, found := at[string(item)]
			require.True(t, found == ok && (!ok || n == first+i), "a batch is there in part, or torn apart")
		}
		return ok
	}
	for _, batch := range acknowledged {
		require.True(t, whole(batch), "an acknowledged batch is lost")
	}
	stored := len(acknowledged)
	for _, batch := range unknown {
		if whole(batch) {
			stored++
		}
	}
	t.Logf("%d batches acknowledged; of %d unknown ones %d were stored",
		len(acknowledged), len(unknown), stored-len(acknowledged))
	require.NotEmpty(t, acknowledged)

	left, err := store.Session("stock").GetItems(t.Context(), 0)
	require.NoError(t, err)
	seen := make(map[string]bool)
	for _, item := range append(left, popped...) {
		require.False(t, seen[string(item)], "an item was popped twice, or came back")
		seen[string(item)] = true
	}
	t.Logf("%d items popped, %d left; of %d pops cut off %d took an item along",
		len(popped), len(left), cutOff, stock-len(seen))
	require.NotEmpty(t, popped)
	require.LessOrEqual(t, stock-len(seen), cutOff, "an item is lost without an error")
	for _, item := range numbered(1, len(left)) {
		require.True(t, seen[string(item)])
	}
}
