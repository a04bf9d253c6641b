package redisstore

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// documentedRights returns the commands of the ACL line in doc.go, each with
// its plus sign.
func documentedRights(t testing.TB) []string {
	source, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	_, rights, found := strings.Cut(string(source), "//	ACL SETUSER agent on >PASSWORD ~agents:session:* ")
	require.True(t, found)
	rights, _, _ = strings.Cut(rights, "\n//\n")
	commands := strings.Fields(strings.ReplaceAll(rights, "\n//", ""))
	require.Greater(t, len(commands), 10)
	return commands
}

// asUser returns a store for a new user of the fixture's server, with these
// rights on the fixture's keys. The function change changes the rights.
func (f *fixture) asUser(t testing.TB, rights []string, opts ...Option) (store *Store, change func(rules ...any)) {
	name := f.prefix + "-" + random()
	change = func(rules ...any) {
		f.onEachNode(t, append([]any{"acl", "setuser", name}, rules...)...)
	}
	change("on", ">password", "~"+strings.TrimSuffix(f.config.pattern(), "}"))
	for _, right := range rights {
		change(right)
	}
	t.Cleanup(func() { f.onEachNode(t, "acl", "deluser", name) })
	var client redis.UniversalClient
	if cluster, ok := f.client.(*redis.ClusterClient); ok {
		options := *cluster.Options()
		options.Username, options.Password = name, "password"
		options.NewClient = nil
		client = redis.NewClusterClient(&options)
	} else {
		options := *f.client.(*redis.Client).Options()
		options.Username, options.Password = name, "password"
		client = redis.NewClient(&options)
	}
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	store, err := New(client, append([]Option{WithPrefix(f.prefix)}, opts...)...)
	require.NoError(t, err)
	return store, change
}

// onEachNode sends a command to each server.
func (f *fixture) onEachNode(t testing.TB, args ...any) {
	nodes, err := f.nodes(context.Background())
	require.NoError(t, err)
	for _, node := range nodes {
		require.NoError(t, node.(*redis.Client).Do(context.Background(), args...).Err())
	}
}

// TestRightsThatAreEnough uses every operation as two users: one with the least
// rights that the documentation names, and one with the usual categories.
func TestRightsThatAreEnough(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		for name, rights := range map[string][]string{
			"the least":  documentedRights(t),
			"categories": {"+@read", "+@write", "+@scripting"},
		} {
			t.Run(name, func(t *testing.T) {
				for _, opts := range [][]Option{nil, {WithKeyTTL(time.Hour)}} {
					f := newFixture(t, s)
					if s.env == clusterEnv {
						rights = append(rights, "+cluster", "+command")
					}
					store, _ := f.asUser(t, rights, append(opts, s.options...)...)
					useEverything(t, f, store)
				}
			})
		}
	})
}

// useEverything uses every operation of a store, in each way that needs other
// commands.
func useEverything(t *testing.T, f *fixture, store *Store) {
	former, current := newKey(t), newKey(t)
	open := func(keys encsession.KeySource, opts ...encsession.Option) *encsession.EncryptedSession {
		session, err := encsession.New(store.Session("s"), keys, opts...)
		require.NoError(t, err)
		return session
	}
	add(t, store.Session("s"), numbered(1, 50)...)
	require.NoError(t, f.client.RPush(t.Context(), f.config.keys("s").messages, "not JSON").Err())
	sealed, err := open(former, encsession.WithPlaintext()).SealPlaintext(t.Context())
	require.NoError(t, err)
	require.Equal(t, 50, sealed)
	session := open(encsession.Keyring{Current: current, Older: []encsession.Key{former}})
	rekeyed, err := session.Rekey(t.Context())
	require.NoError(t, err)
	require.Equal(t, 50, rekeyed)
	item, err := session.PopItem(t.Context())
	require.NoError(t, err)
	require.Equal(t, string(numbered(50, 50)[0]), string(item))
	deleted, err := session.DeleteItems(t.Context(), func(item Item) bool { return string(item) < `{"n":2` || string(item) == `{"n":2}` })
	require.NoError(t, err)
	require.Equal(t, 12, deleted) // 1, 10 to 19, and 2
	report, err := session.Audit(t.Context())
	require.NoError(t, err)
	require.Equal(t, 37, report.Readable)
	requireItems(t, session, append(numbered(3, 9), numbered(20, 49)...)...)
	require.Equal(t, []string{"s"}, allIDs(t, store))

	// If other clients remove items in the middle of a pass, the pass has to
	// look for the remaining ones.
	handed := 0
	removed, err := store.Session("s").RewriteItems(t.Context(), 5, func(stored []Item) ([]Item, bool) {
		handed = len(stored)
		require.NoError(t, f.client.LPop(t.Context(), f.config.keys("s").messages).Err())
		return make([]Item, len(stored)), false
	})
	require.NoError(t, err)
	require.Equal(t, handed, removed)

	// This session has lost its items, and its hash expires.
	for range 40 {
		_, err := store.Session("s").PopItem(t.Context())
		require.NoError(t, err)
	}
	require.NoError(t, f.client.Del(t.Context(), f.config.keys("s").messages).Err())
	require.NoError(t, f.client.PExpire(t.Context(), f.config.keys("s").hash, time.Hour).Err())
	add(t, store.Session("s"), numbered(1, 1)...)
	require.NoError(t, store.Session("s").ClearSession(t.Context()))
	require.Empty(t, allIDs(t, store))
}

// states are the possible states of a session before a call.
var states = map[string]func(t testing.TB, f *fixture, id string){
	"new":  func(testing.TB, *fixture, string) {},
	"used": func(t testing.TB, f *fixture, id string) { add(t, f.Session(id), numbered(1, 6)...) },
	"that expires": func(t testing.TB, f *fixture, id string) {
		add(t, f.Session(id), numbered(1, 6)...)
		require.NoError(t, f.client.Set(t.Context(), f.config.keys(id).counter, 1, time.Hour).Err())
		require.NoError(t, f.client.PExpire(t.Context(), f.config.keys(id).hash, time.Hour).Err())
		require.NoError(t, f.client.PExpire(t.Context(), f.config.keys(id).messages, time.Hour).Err())
	},
	"empty that expires": func(t testing.TB, f *fixture, id string) {
		require.NoError(t, f.client.HSet(t.Context(), f.config.keys(id).hash, "session_id", id, "other", 1).Err())
		require.NoError(t, f.client.PExpire(t.Context(), f.config.keys(id).hash, time.Hour).Err())
	},
	"below junk": func(t testing.TB, f *fixture, id string) {
		add(t, f.Session(id), numbered(1, 6)...)
		require.NoError(t, f.client.RPush(t.Context(), f.config.keys(id).messages, "junk", "junk").Err())
	},
}

// requireErrorsChangeNothing calls each method on a session in each state, on a
// store that lacks a right or a command. The fixture source makes the sessions.
// It returns the number of calls that returned an error.
func (f *fixture) requireErrorsChangeNothing(t testing.TB, source *fixture, store *Store, lacks string) (errs int) {
	for state, prepare := range states {
		for method, do := range methods {
			if store.config.ttl > 0 && method != "AddItems" {
				continue // only AddItems uses the TTL
			}
			id := random()
			prepare(t, source, id)
			if source != f {
				f.copyFrom(t, source, id)
			}
			before := f.dump(t, id)
			if err := do(t.Context(), store.Session(id)); err != nil {
				errs++
				require.ErrorContains(t, err, "redisstore: "+method+": ")
				require.NotContains(t, err.Error(), "secret")
				require.NotContains(t, err.Error(), "carried it out")
				require.Equal(t, before, f.dump(t, id), "%s without %s on a session %s: %v", method, lacks, state, err)
			}
		}
	}
	return errs
}

// TestUserWithoutACommand denies each documented command in turn, and then each
// selection of the commands with which AddItems writes. All commands are
// needed.
func TestUserWithoutACommand(t *testing.T) {
	t.Parallel()
	f := newFixture(t, onServer)
	rights := documentedRights(t)
	for _, opts := range [][]Option{nil, {WithKeyTTL(time.Hour)}} {
		store, change := f.asUser(t, rights, opts...)
		require.Zero(t, f.requireErrorsChangeNothing(t, f, store, "nothing"))
		for _, right := range rights {
			if opts != nil {
				break // only AddItems uses the TTL, and it follows below
			}
			command := strings.TrimPrefix(right, "+")
			change("-" + command)
			errs := f.requireErrorsChangeNothing(t, f, store, command)
			for _, err := range store.Sessions(t.Context()) {
				if err != nil {
					errs++
				}
			}
			if !slices.Contains([]string{"pexpire", "persist", "lpos"}, command) { // only needed at times
				require.NotZero(t, errs, "%s is not needed", command)
			}
			change(right)
		}
		writes := []string{"rpush", "rpushx", "hset", "del", "pexpire", "persist"}
		for selection := range 1 << len(writes) {
			var denied []string
			for i, command := range writes {
				if selection&(1<<i) == 0 {
					change("+" + command)
					continue
				}
				change("-" + command)
				denied = append(denied, command)
			}
			for state, prepare := range states {
				id := random()
				prepare(t, f, id)
				before := f.dump(t, id)
				if err := store.Session(id).AddItems(t.Context(), numbered(7, 9)...); err != nil {
					require.Equal(t, before, f.dump(t, id), "AddItems without %v on a session %s: %v", denied, state, err)
				}
			}
		}
	}
}

// TestServerWithoutACommand removes each command from a server in turn.
func TestServerWithoutACommand(t *testing.T) {
	t.Parallel()
	source := newFixture(t, onServer) // it makes the sessions, because the other servers lack commands
	for _, right := range documentedRights(t) {
		command := strings.TrimPrefix(right, "+")
		s := startServer(t, "--rename-command", command, "")
		f := &fixture{client: s.newClient(t, nil), prefix: source.prefix, Store: source.Store}
		for _, opts := range [][]Option{nil, {WithKeyTTL(time.Hour)}} {
			store := s.newStore(t, nil, append(opts, WithPrefix(f.prefix))...)
			f.requireErrorsChangeNothing(t, source, store, command)
		}
		s.kill(t)
	}
}

// copyFrom copies the keys of a session from another server.
func (f *fixture) copyFrom(t testing.TB, source *fixture, id string) {
	k := f.config.keys(id)
	for _, key := range []string{k.hash, k.messages, k.counter} {
		dump, err := source.client.Dump(t.Context(), key).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		require.NoError(t, err)
		ttl, err := source.client.PTTL(t.Context(), key).Result()
		require.NoError(t, err)
		require.NoError(t, f.client.Restore(t.Context(), key, max(ttl, 0), dump).Err())
	}
}
