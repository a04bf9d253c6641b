package main

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/redisstore"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestRedis(t *testing.T) {
	for _, server := range []struct{ name, flag, variable string }{
		{"server", "-redis", "ENCSESSION_REDIS_ADDR"},
		{"cluster", "-redis-cluster", "ENCSESSION_REDIS_CLUSTER_ADDRS"},
	} {
		t.Run(server.name, func(t *testing.T) {
			address := os.Getenv(server.variable)
			if address == "" {
				t.Skipf("set %s to the address of a server to run this test", server.variable)
			}
			prefix := "inspect-" + strings.ToLower(rand.Text()[:10])
			args := []string{server.flag, address, "-prefix", prefix}
			if server.flag == "-redis" {
				testRedis(t, redis.NewClient(&redis.Options{Addr: address}), args, redisstore.WithPrefix(prefix))
				args[1] = "redis://" + address + "/0"
			}
			client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: strings.Split(address, ",")})
			testRedis(t, client, append(args, "-hash-tag"), redisstore.WithPrefix(prefix), redisstore.WithHashTag())
		})
	}
}

// testRedis runs everything over a store without sessions, and leaves none there.
func testRedis(t *testing.T, client redis.UniversalClient, args []string, options ...redisstore.Option) {
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	store, err := redisstore.New(client, options...)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, sessionID := range []string{"alice", "bob", "carol", pastSession} {
			require.NoError(t, store.Session(sessionID).ClearSession(context.Background()))
		}
	})
	code, d := document(t, nil, args...)
	require.Equal(t, exitFine, code)
	require.Empty(t, d.Sessions)

	oldKey, err := encsession.ParsePythonKey("the old key")
	require.NoError(t, err)
	lostKey, err := encsession.ParsePythonKey("the lost key")
	require.NoError(t, err)
	past, err := fromThePast(oldKey)
	require.NoError(t, err)
	item := encsession.Item(`{"role":"user","content":"Hello"}`)
	require.NoError(t, addUnder(t.Context(), store.Session("carol"), &lostKey, []encsession.Item{item}))
	require.NoError(t, addUnder(t.Context(), store.Session("bob"), nil, []encsession.Item{item}))
	require.NoError(t, addUnder(t.Context(), store.Session(pastSession), nil, past[:1]))
	require.NoError(t, addUnder(t.Context(), store.Session("alice"), &oldKey, []encsession.Item{item, item}))

	code, d = document(t, nil, args...)
	require.Equal(t, exitFine, code)
	require.Equal(t, 4, d.Totals.Sealed)
	require.Equal(t, 1, d.Totals.Plaintext)

	environment := map[string]string{keyVariable: "the current key", readKeysVariable: "the old key"}
	code, d = document(t, environment, append(args, "-rekey")...)
	require.Equal(t, exitUndecryptable, code)
	carol := &Skipped{Sessions: 1, Undecryptable: 1}
	require.Equal(t, &Operation{Name: "rekey", Items: 3, Sessions: 2, Skipped: carol}, d.Operation)
	require.Len(t, d.Sessions, 4)
	for n, sessionID := range []string{"alice", "bob", "carol", pastSession} {
		require.Equal(t, sessionID, d.Sessions[n].ID)
	}
	require.Equal(t, []int{3, 0}, perKey(d))
	code, d = document(t, environment, append(args, "-seal-plaintext")...)
	require.Equal(t, []int{4, 0}, perKey(d))
	require.Equal(t, exitError, code)
	require.Contains(t, d.Sessions[2].Error, `session "carol": no key opens its encrypted items`)

	r := inspect(t, environment, append(args, "-show", "bob")...)
	require.Equal(t, exitFine, r.code)
	require.Contains(t, r.stdout, `{"role":"user","content":"Hello"}`)
	_, d = document(t, environment, append(args, "-show", "alice")...)
	require.Len(t, *d.Sessions[0].Content, 2)
	require.JSONEq(t, string(item), string((*d.Sessions[0].Content)[0].Item))
	r = inspect(t, environment, append(args, "-show", "alice:messages")...)
	require.Equal(t, exitError, r.code)

	_, d = document(t, environment, append(args, "-ttl", "1d")...)
	require.Equal(t, 1, d.Totals.Expired)
	_, d = document(t, environment, append(args, "-purge", "1d")...)
	require.Equal(t, &Operation{Name: "purge", Items: 1, Sessions: 1}, d.Operation)
	require.Equal(t, 3, d.Totals.Readable)
	require.NoError(t, store.Session("carol").ClearSession(t.Context()))
	code, d = document(t, environment, args...)
	require.Equal(t, exitFine, code)
	require.Zero(t, d.Totals.Expired)
}

// TestRedisPasswords has passwords in what cannot be read, and before servers that are not there.
func TestRedisPasswords(t *testing.T) {
	for _, source := range []string{
		"redis://user:73hush@127.0.0.1:1/0", "rediss://:73hush@127.0.0.1:1", "redis://73hush@127.0.0.1:1",
		"redis://user:73hush@127.0.0.1:x", "redis://user:73hush@127.0.0.1:1/x", "redis://user:73hush@127.0.0.1:1/?x=y",
		"redis://user:73/hush@127.0.0.1:1", "redis://user:73?hush@127.0.0.1:1", "redis://user:73#hush@127.0.0.1:1",
		"redis://user:73%hush@127.0.0.1:1", "redis://user:hush/73@127.0.0.1:1",
		"user:73hush@127.0.0.1:1", "73hush@127.0.0.1:1", "127.0.0.1:hush73", "http://user:73hush@127.0.0.1:1",
		"REDIS://user:73hush@127.0.0.1:1", "redis://rediss://user:73hush@127.0.0.1:1", "redis:73hush@127.0.0.1:1",
	} {
		for _, args := range [][]string{
			{"-redis", source}, {"-redis-cluster", source}, {"-redis-cluster", "127.0.0.1:1," + source},
			{"-redis", source, "-mysql", "x"}, {"-redis", "127.0.0.1:1", source},
		} {
			t.Run("", func(t *testing.T) {
				t.Parallel() // go-redis takes its time for servers that are not there
				r := inspect(t, nil, args...)
				require.Equal(t, exitError, r.code, args)
				require.NotContains(t, r.stdout+r.stderr, "hush", args)
				require.NotContains(t, r.stdout+r.stderr, "73", args)
			})
		}
	}
}
