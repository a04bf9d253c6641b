package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// difficultIDs are made of the pieces that keys are made of, in every order, up to three at a time.
func difficultIDs(prefix string) []string {
	pieces := []string{"", "a", ":", "::", "messages", "counter", ":messages", ":counter", prefix, prefix + ":",
		"{", "}", "{}", "}{", "{" + prefix + ":", "*",
		"?", "[a]", `\`, " ", "\n", "\x00", "\xff", "é", "MESSAGES", ":Messages"}
	var ids []string
	for _, a := range pieces {
		for _, b := range pieces {
			for _, c := range pieces {
				ids = append(ids, a+b+c)
			}
		}
	}
	return ids
}

// TestNoKeyIsShared makes the keys of thousands of IDs, all of them different from one another, and an ID back from
// each. Without the IDs that are refused this would fail.
func TestNoKeyIsShared(t *testing.T) {
	for _, n := range []naming{
		{prefix: "agents:session"}, {prefix: "p"}, {prefix: ":"}, {prefix: "p:messages"}, {prefix: "{p}"}, {prefix: "*"},
		{prefix: "agents:session", tagged: true}, {prefix: "p", tagged: true}, {prefix: ":", tagged: true},
	} {
		owners := map[string]string{} // of keys
		refused := 0
		for _, id := range difficultIDs(n.prefix) {
			k := n.keys(id)
			if checkID(id) != nil {
				refused++
				_, ok := n.id(k.hash)
				require.False(t, ok, "%q", id)
				continue
			}
			for _, key := range []string{k.hash, k.messages, k.counter} {
				owner, taken := owners[key]
				require.True(t, !taken || owner == id, "%q is a key of %q and of %q", key, owner, id)
				owners[key] = id
			}
			require.Len(t, map[string]bool{k.hash: true, k.messages: true, k.counter: true}, 3)

			got, ok := n.id(k.hash)
			require.True(t, ok, "%q", k.hash)
			require.Equal(t, id, got)
			for _, key := range []string{k.messages, k.counter} {
				_, ok := n.id(key)
				require.False(t, ok, "%q is not the hash of a session", key)
			}
			if n.tagged {
				require.NotEmpty(t, hashTag(k.hash))
				require.Equal(t, hashTag(k.hash), hashTag(k.messages))
				require.Equal(t, hashTag(k.hash), hashTag(k.counter))
			}
		}
		require.Greater(t, refused, 100)
	}
}

// hashTag returns what Redis Cluster hashes: what stands between the first opening brace and the first closing one
// behind it, unless that is nothing.
func hashTag(key string) string {
	_, tag, _ := strings.Cut(key, "{")
	tag, _, ok := strings.Cut(tag, "}")
	if !ok {
		return ""
	}
	return tag
}

func TestKeysAreThoseOfPython(t *testing.T) {
	require.Equal(t,
		keys{"agents:session:user-123", "agents:session:user-123:messages", "agents:session:user-123:counter"},
		naming{prefix: "agents:session"}.keys("user-123"))
	require.Equal(t,
		keys{"{agents:session:user-123}", "{agents:session:user-123}:messages", "{agents:session:user-123}:counter"},
		naming{prefix: "agents:session", tagged: true}.keys("user-123"))
}

// unreachable is a client that must not be used.
func unreachable(t testing.TB) *redis.Client {
	return redis.NewClient(&redis.Options{Dialer: func(context.Context, string, string) (net.Conn, error) {
		t.Error("something was sent")
		return nil, errors.New("unreachable")
	}, DialerRetries: 1, MaxRetries: -1})
}

func TestRefusedIDs(t *testing.T) {
	for _, opts := range [][]Option{nil, {WithHashTag()}} {
		store, err := New(unreachable(t), opts...)
		require.NoError(t, err)
		for _, id := range []string{
			"a:messages", "a:counter", ":messages", ":counter", "a:messages:messages", "a:counter:messages",
		} {
			for method, do := range methods {
				err := do(t.Context(), store.Session(id))
				require.ErrorContains(t, err, fmt.Sprintf("redisstore: %s: a session ID that ends in ", method))
			}
			require.Error(t, store.Session(id).AddItems(t.Context()), "not even to add nothing")
			require.Equal(t, id, store.Session(id).SessionID())
		}
	}
}

// TestOverlappingPrefixes: where two stores give two sessions the same keys, the second session has nothing but errors.
func TestOverlappingPrefixes(t *testing.T) {
	f := newFixture(t, onServer)
	overlapping, err := New(f.client, WithPrefix(f.prefix+":b"))
	require.NoError(t, err)
	first, second := f.Session("b:c"), overlapping.Session("c")
	add(t, first, numbered(1, 3)...)
	before := f.dump(t, "b:c")
	for method, do := range methods {
		require.ErrorContains(t, do(t.Context(), second), "redisstore: "+method+": ")
		require.ErrorContains(t, do(t.Context(), second), "another ID")
		require.Equal(t, before, f.dump(t, "b:c"))
	}
	for info, err := range overlapping.Sessions(t.Context()) {
		require.NoError(t, err)
		require.Fail(t, "a session of another store", "%q", info.ID)
	}
	requireItems(t, first, numbered(1, 3)...)
}

// dump returns what the keys of a session hold, and when they expire.
func (f *fixture) dump(t testing.TB, id string) map[string]string {
	k := f.config.keys(id)
	all := map[string]string{}
	for _, key := range []string{k.hash, k.messages, k.counter} {
		value, err := f.client.Dump(context.Background(), key).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		require.NoError(t, err)
		expiry, err := f.client.PExpireTime(context.Background(), key).Result()
		require.NoError(t, err)
		all[key] = fmt.Sprintf("%q %v", value, expiry)
	}
	return all
}
