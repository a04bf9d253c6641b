package redisstore

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// allIDs returns what SessionIDs gives, sorted.
func allIDs(t testing.TB, s *Store) []string {
	t.Helper()
	ids := []string{}
	for id, err := range s.SessionIDs(context.Background()) {
		require.NoError(t, err)
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// TestSessionIDs lists more sessions than a page holds, among keys that are not those of a session.
func TestSessionIDs(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s)
		require.Empty(t, allIDs(t, f.Store))
		var want []string
		for n := range 2*keysPerScan + 500 {
			want = append(want, fmt.Sprintf("user-%d", n))
		}
		want = append(want, "", ":", "a:b", "*", "?", "[a]", `\`, "{", "}", "{}", "}{", "{a}b", "messages", "a:messages:b",
			"\x00", "\xff", "é 😀\n", f.prefix, f.prefix+":x", "popped")
		for _, id := range want {
			add(t, f.Session(id), Item(`{}`))
		}
		_, err := f.Session("popped").PopItem(t.Context())
		require.NoError(t, err)

		add(t, f.Session("cleared"), Item(`{}`))
		require.NoError(t, f.Session("cleared").ClearSession(t.Context()))
		key := func(id string) string { return f.config.keys(id).hash }
		require.NoError(t, f.client.Set(t.Context(), key("a string"), "x", 0).Err())
		require.NoError(t, f.client.RPush(t.Context(), key("a list"), "x").Err())
		require.NoError(t, f.client.HSet(t.Context(), key("no ID"), "a", "b").Err())
		require.NoError(t, f.client.HSet(t.Context(), key("another ID"), "session_id", "x").Err())
		require.NoError(t, f.client.HSet(t.Context(), key("refused:messages"), "session_id", "refused:messages").Err())

		slices.Sort(want)
		require.Equal(t, want, allIDs(t, f.Store))
	})
}

// TestGlobCharactersInPrefix: each prefix is a pattern for the others, but only finds its own sessions.
func TestGlobCharactersInPrefix(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s)
		var stores []*Store
		for _, suffix := range []string{
			"", "*", "**", "?", "a", "ab", "[a]", "[ab]", "[^a]", "[a-z]", "[", "]", `\`, `\\`, `\*`, `\a`, "-", "^",
		} {
			store, err := New(f.client, append([]Option{WithPrefix(f.prefix + suffix)}, s.options...)...)
			require.NoError(t, err)
			add(t, store.Session("of "+suffix), Item(`{}`))
			stores = append(stores, store)
		}
		for _, store := range stores {
			require.Equal(t, []string{"of " + strings.TrimPrefix(store.config.prefix, f.prefix)}, allIDs(t, store))
		}
	})
}

// repeatScans is a hook that has keys found twice, as may happen while the server's table grows: where the first scan
// is over, it sends it back to where it was near the beginning.
type repeatScans struct {
	recorder
	repeated bool
	found    int
}

func (r *repeatScans) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return r.recorder.ProcessHook(func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if scan, ok := cmd.(*redis.ScanCmd); ok {
			page, cursor := scan.Val()
			r.found += len(page)
			if cursor == 0 && !r.repeated {
				r.repeated = true
				scan.SetVal(page, 1)
			}
		}
		return err
	})
}

func TestSessionIDsOnceAndNoFurther(t *testing.T) {
	f := newFixture(t, onServer)
	for n := range 20 {
		add(t, f.Session(fmt.Sprint(n)), Item(`{}`))
	}
	hook := &repeatScans{}
	f.client.AddHook(hook)
	require.Len(t, allIDs(t, f.Store), 20)
	require.Greater(t, hook.found, 20)
	hook.trips = nil
	for _, err := range f.SessionIDs(t.Context()) {
		require.NoError(t, err)
		break
	}
	lookedAt := slices.DeleteFunc(hook.trips, func(trip string) bool { return trip == "scan" })
	require.Len(t, lookedAt, 1, "it goes on after the loop has ended")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	given := 0
	for _, err := range f.SessionIDs(ctx) {
		last = err
		given++
		cancel()
	}
	if last != nil { // otherwise there was only one page
		require.ErrorIs(t, last, context.Canceled)
		require.ErrorContains(t, last, "redisstore: SessionIDs: ")
	}
	require.NotZero(t, given)
}

// failHGet is a hook that has every HGET fail.
type failHGet struct{ recorder }

func (*failHGet) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			cmd.SetErr(io.ErrUnexpectedEOF)
		}
		return io.ErrUnexpectedEOF
	}
}

// TestSessionIDsLeavesNothingOut: where it cannot look at a session, that is an error.
func TestSessionIDsLeavesNothingOut(t *testing.T) {
	f := newFixture(t, onServer)
	add(t, f.Session("s"), Item(`{}`))
	client := onServer.newClient(t)
	client.AddHook(&failHGet{})
	store, err := New(client, WithPrefix(f.prefix))
	require.NoError(t, err)
	var errs []error
	for id, err := range store.SessionIDs(t.Context()) {
		require.Empty(t, id)
		errs = append(errs, err)
	}
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], io.ErrUnexpectedEOF)
	require.ErrorContains(t, errs[0], "redisstore: SessionIDs: ")
}

// TestLoopMayUseStore clears each session that it is given, and makes others.
func TestLoopMayUseStore(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s)
		for n := range 100 {
			add(t, f.Session(fmt.Sprint("old-", n)), Item(`{}`))
		}
		seen := map[string]bool{}
		for id, err := range f.SessionIDs(t.Context()) {
			require.NoError(t, err)
			require.False(t, seen[id])
			seen[id] = true
			require.NoError(t, f.Session(id).ClearSession(t.Context()))
			if strings.HasPrefix(id, "old-") {
				add(t, f.Session("new-"+id), Item(`{}`))
			}
		}
		for n := range 100 {
			require.True(t, seen[fmt.Sprint("old-", n)])
		}
	})
}
