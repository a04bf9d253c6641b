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

// difficultIDs returns IDs made of the pieces that keys are made of, in every
// order, up to three at a time.
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

// TestNoKeyIsShared makes the keys of thousands of IDs. All keys differ, and
// each hash key gives its ID back. The test would fail without the refusal of
// some IDs.
func TestNoKeyIsShared(t *testing.T) {
	for _, n := range []naming{
		{prefix: "agents:session"}, {prefix: "p"}, {prefix: ":"}, {prefix: "p:messages"}, {prefix: "{p}"}, {prefix: "*"},
		{prefix: "agents:session", tagged: true}, {prefix: "p", tagged: true}, {prefix: ":", tagged: true},
	} {
		owners := map[string]string{} // of keys
		refused := 0
		for _, id := range difficultIDs(n.prefix) {
			k := n.keys(id)
			got, isHash := n.id(k.hash)
			if checkID(id) != nil {
				refused++
				if isHash {
					t.Fatalf("%q is refused, and the hash of %q", id, got)
				}
				continue
			}
			for _, key := range []string{k.hash, k.messages, k.counter, k.unused()} {
				if owner, taken := owners[key]; taken && owner != id {
					t.Fatalf("%q is a key of %q and of %q", key, owner, id)
				}
				owners[key] = id
			}
			if !isHash || got != id {
				t.Fatalf("%q is the hash of %q, not of %q", k.hash, got, id)
			}
			for _, key := range []string{k.messages, k.counter, k.unused()} {
				if id, ok := n.id(key); ok {
					t.Fatalf("%q is the hash of %q", key, id)
				}
				if key == k.hash || n.tagged && (hashTag(key) == "" || hashTag(key) != hashTag(k.hash)) {
					t.Fatalf("%q and %q are equal, or lie in different slots", key, k.hash)
				}
			}
			if k.messages == k.counter || k.messages == k.unused() || k.counter == k.unused() {
				t.Fatalf("%q has a key twice", id)
			}
		}
		require.Greater(t, refused, 100)
	}
}

// hashTag returns the part of a key that Redis Cluster hashes. That is the text
// between the first opening brace and the first closing one after it, unless
// that text is empty.
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

// TestOverlappingPrefixes: if two stores give two sessions the same keys, the
// second session gets only errors.
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

// dump returns the contents of a session's keys, and their expiry times.
func (f *fixture) dump(t testing.TB, id string) map[string]string {
	k := f.config.keys(id)
	all := map[string]string{}
	pipeline := f.client.Pipeline()
	values, expiries := map[string]*redis.StringCmd{}, map[string]*redis.DurationCmd{}
	for _, key := range []string{k.hash, k.messages, k.counter} {
		values[key] = pipeline.Dump(context.Background(), key)
		expiries[key] = pipeline.PExpireTime(context.Background(), key)
	}
	_, _ = pipeline.Exec(context.Background()) // every command has its own error
	for key, value := range values {
		if errors.Is(value.Err(), redis.Nil) {
			continue
		}
		require.NoError(t, value.Err())
		require.NoError(t, expiries[key].Err())
		all[key] = fmt.Sprintf("%q %v", value.Val(), expiries[key].Val())
	}
	return all
}
