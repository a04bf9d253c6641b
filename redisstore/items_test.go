package redisstore

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestWhatAddStores compares the keys that AddItems writes with those that
// Python's RedisSession writes.
func TestWhatAddStores(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s)
		k := f.config.keys("s")
		items := []Item{Item(`{"role":"user","content":"é \u00e9"}`), Item(" {\n} ")}
		before := time.Now().Unix()
		add(t, f.Session("s"), items...)
		hash, err := f.client.HGetAll(t.Context(), k.hash).Result()
		require.NoError(t, err)
		require.Len(t, hash, 3)
		require.Equal(t, "s", hash["session_id"])
		require.Equal(t, hash["created_at"], hash["updated_at"])
		seconds, err := strconv.ParseInt(hash["created_at"], 10, 64)
		require.NoError(t, err)
		require.InDelta(t, before, seconds, 60)
		require.Equal(t, texts(items), f.client.LRange(t.Context(), k.messages, 0, -1).Val())
		require.Zero(t, f.client.Exists(t.Context(), k.counter).Val())
		for _, key := range []string{k.hash, k.messages} {
			require.Equal(t, time.Duration(-1), f.client.TTL(t.Context(), key).Val())
		}

		// Later adds keep created_at and fields that others have set.
		require.NoError(t, f.client.HSet(t.Context(), k.hash, "created_at", "1", "updated_at", "1", "other", "x").Err())
		add(t, f.Session("s"), items...)
		hash = f.client.HGetAll(t.Context(), k.hash).Val()
		require.Equal(t, "1", hash["created_at"])
		require.NotEqual(t, "1", hash["updated_at"])
		require.Equal(t, "x", hash["other"])

		// Pops and replacements leave the hash alone. ClearSession leaves
		// nothing, not even a counter.
		require.NoError(t, f.client.HSet(t.Context(), k.hash, "updated_at", "2").Err())
		require.NoError(t, f.client.Set(t.Context(), k.counter, "7", 0).Err())
		_, err = f.Session("s").PopItem(t.Context())
		require.NoError(t, err)
		rewriteEach(t, f.Session("s"), 1, func(Item) Item { return numbered(1, 1)[0] })
		require.Equal(t, "2", f.client.HGet(t.Context(), k.hash, "updated_at").Val())
		require.NoError(t, f.Session("s").ClearSession(t.Context()))
		require.Empty(t, f.dump(t, "s"))
	})
}

// TestAddIsOneCommand checks that AddItems sends one command, also for a large
// batch.
func TestAddIsOneCommand(t *testing.T) {
	f := newFixture(t, onServer, WithKeyTTL(time.Hour))
	add(t, f.Session("other"), numbered(1, 1)...)               // makes a connection
	for _, n := range []int{4999, 5000, 5001, 10_000, 12_345} { // Lua takes 5,000 of them at a time
		sent := &recorder{}
		f.client.AddHook(sent)
		add(t, f.Session(fmt.Sprint(n)), numbered(1, n)...)
		require.Equal(t, []string{"eval"}, sent.trips)
		requireItems(t, f.Session(fmt.Sprint(n)), numbered(1, n)...)
	}
}

// recorder is a hook that notes the names of the commands of each round trip.
type recorder struct{ trips []string }

func (r *recorder) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.trips = append(r.trips, cmd.Name())
		return next(ctx, cmd)
	}
}

func (r *recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var names []string
		for _, cmd := range cmds {
			names = append(names, cmd.Name())
		}
		r.trips = append(r.trips, strings.Join(names, " "))
		return next(ctx, cmds)
	}
}

func TestKeyTTL(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s, WithKeyTTL(90*time.Minute))
		k := f.config.keys("s")
		expiries := func() (all []time.Duration) {
			for _, key := range []string{k.hash, k.messages, k.counter} {
				all = append(all, f.client.PExpireTime(t.Context(), key).Val())
			}
			return all
		}
		require.NoError(t, f.client.Set(t.Context(), k.counter, "7", 0).Err())
		start := time.Now()
		add(t, f.Session("s"), numbered(1, 3)...)
		set := expiries()
		require.InDelta(t, start.Add(90*time.Minute).UnixMilli(), set[0].Milliseconds(), 60_000)
		for _, earlier := range set[1:] { // the hash is set last, and outlives the others
			require.LessOrEqual(t, earlier, set[0])
			require.InDelta(t, set[0].Milliseconds(), earlier.Milliseconds(), 100)
		}

		// Only AddItems sets it anew.
		for _, key := range []string{k.hash, k.messages, k.counter} {
			require.NoError(t, f.client.Expire(t.Context(), key, time.Hour).Err())
		}
		set = expiries()
		_, err := f.Session("s").PopItem(t.Context())
		require.NoError(t, err)
		rewriteEach(t, f.Session("s"), 1, func(stored Item) Item {
			if string(stored) == `{"n":2}` {
				return nil
			}
			return numbered(9, 9)[0]
		})
		requireItems(t, f.Session("s"), numbered(9, 9)...)
		require.Equal(t, set, expiries())
		add(t, f.Session("s"), numbered(1, 1)...)
		require.Greater(t, expiries()[0], set[0])

		// A store without a TTL leaves it.
		without, err := New(f.client, append([]Option{WithPrefix(f.prefix)}, s.options...)...)
		require.NoError(t, err)
		set = expiries()
		add(t, without.Session("s"), numbered(1, 1)...)
		require.Equal(t, set, expiries())

		// The longest TTL and the shortest.
		for _, ttl := range []time.Duration{1<<63 - 1 - (1<<63-1)%time.Millisecond, time.Millisecond} {
			store, err := New(f.client, append([]Option{WithPrefix(f.prefix), WithKeyTTL(ttl)}, s.options...)...)
			require.NoError(t, err)
			add(t, store.Session("s"), numbered(1, 1)...)
		}
		require.Eventually(t, func() bool { return len(f.dump(t, "s")) == 0 }, 10*time.Second, 5*time.Millisecond)
		requireItems(t, f.Session("s"))
	})
}

// TestWrongType puts a value of another type under each key of a session. Every
// method says so and changes nothing.
func TestWrongType(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s, WithKeyTTL(time.Hour))
		k := f.config.keys("s")
		ctx := t.Context()
		set := map[string]func(key string) error{
			"string": func(key string) error { return f.client.Set(ctx, key, "x", time.Minute).Err() },
			"list":   func(key string) error { return f.client.RPush(ctx, key, "{}").Err() },
			"hash":   func(key string) error { return f.client.HSet(ctx, key, "a", "b").Err() },
			"set":    func(key string) error { return f.client.SAdd(ctx, key, "a").Err() },
			"zset":   func(key string) error { return f.client.ZAdd(ctx, key, redis.Z{Member: "a"}).Err() },
			"stream": func(key string) error {
				return f.client.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []string{"a", "b"}}).Err()
			},
		}
		for key, right := range map[string]string{k.hash: "hash", k.messages: "list", k.counter: "string"} {
			for kind, set := range set {
				if kind == right {
					continue
				}
				for _, used := range []bool{false, true} {
					for _, each := range []string{k.hash, k.messages, k.counter} {
						require.NoError(t, f.client.Del(ctx, each).Err())
					}
					if used {
						add(t, f.Session("s"), numbered(1, 3)...)
						require.NoError(t, f.client.Del(ctx, key).Err())
					}
					require.NoError(t, set(key))
					before := f.dump(t, "s")
					for method, do := range methods {
						if method == "GetItems" && key == k.counter {
							continue // GetItems does not use the counter
						}
						err := do(ctx, f.Session("s"))
						require.ErrorContains(t, err, "redisstore: "+method+": WRONGTYPE ", "%s in %s", kind, key)
						require.True(t, redis.HasErrorPrefix(err, "WRONGTYPE"))
						require.Equal(t, before, f.dump(t, "s"), "%s with %s in %s", method, kind, key)
					}
				}
			}
		}
	})
}

// TestElementsThatAreNotJSON: reads pass over them, and pops and replacements
// leave them alone.
func TestElementsThatAreNotJSON(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s)
		k := f.config.keys("s")
		junk := []any{"not JSON", "", `{"a":1`, "\xff", "\"\xff\"", "NaN", `{"a":01}`, "{} {}", "0x10", " "}
		push := func(elements ...any) { require.NoError(t, f.client.RPush(t.Context(), k.messages, elements...).Err()) }
		items := numbered(1, 5)
		push(junk...)
		add(t, f.Session("s"), items[:2]...)
		push(junk...)
		add(t, f.Session("s"), items[2], items[0])
		push(junk...)
		push(junk...)

		for limit, want := range map[int][]Item{
			0: {items[0], items[1], items[2], items[0]}, -1: {items[0], items[1], items[2], items[0]}, 1: {items[0]},
			2: {items[2], items[0]}, 3: {items[1], items[2], items[0]}, 4: {items[0], items[1], items[2], items[0]},
			5: {items[0], items[1], items[2], items[0]}, math.MaxInt: {items[0], items[1], items[2], items[0]},
			math.MinInt: {items[0], items[1], items[2], items[0]}, math.MaxInt - 1: {items[0], items[1], items[2], items[0]},
		} {
			got, err := f.Session("s").GetItems(t.Context(), limit)
			require.NoError(t, err)
			require.Equal(t, texts(want), texts(got), "limit %d", limit)
		}

		var seen []Item
		n := rewriteEach(t, f.Session("s"), 1, func(stored Item) Item {
			seen = append(seen, stored)
			if string(stored) == string(items[1]) {
				return items[4]
			}
			return stored
		})
		require.Equal(t, 1, n)
		require.Equal(t, texts([]Item{items[0], items[2], items[1], items[0]}), texts(seen))

		for _, want := range []Item{items[0], items[2], items[4], items[0], nil, nil} {
			got, err := f.Session("s").PopItem(t.Context())
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
			require.Equal(t, want == nil, got == nil)
		}
		left := f.client.LRange(t.Context(), k.messages, 0, -1).Val()
		require.Len(t, left, 4*len(junk))
		for i, element := range left {
			require.Equal(t, junk[i%len(junk)], element)
		}
		requireItems(t, f.Session("s"))
	})
}

// TestConcurrentPopsBelowJunk: each item is popped once, while elements that
// are not JSON lie on top and more of them arrive.
func TestConcurrentPopsBelowJunk(t *testing.T) {
	f := newFixture(t, onServer)
	k := f.config.keys("s")
	add(t, f.Session("s"), numbered(1, 60)...)
	require.NoError(t, f.client.RPush(t.Context(), k.messages, "junk", "junk", "junk").Err())
	var mu sync.Mutex
	popped := map[string]int{}
	var workers sync.WaitGroup
	errs := make(chan error, 5)
	for range 4 {
		workers.Go(func() {
			for {
				item, err := f.Session("s").PopItem(context.Background())
				if err != nil || item == nil {
					errs <- err
					return
				}
				mu.Lock()
				popped[string(item)]++
				mu.Unlock()
			}
		})
	}
	workers.Go(func() {
		var err error
		for range 20 {
			if err == nil {
				err = f.client.RPush(context.Background(), k.messages, "junk").Err()
			}
		}
		errs <- err
	})
	workers.Wait()
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	require.Len(t, popped, 60)
	for item, n := range popped {
		require.Equal(t, 1, n, item)
	}
	require.EqualValues(t, 23, f.client.LLen(t.Context(), k.messages).Val())
}
