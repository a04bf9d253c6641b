package redisstore

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// allIDs returns the IDs that Sessions gives, sorted.
func allIDs(t testing.TB, s *Store) []string {
	t.Helper()
	ids := []string{}
	for info, err := range s.Sessions(context.Background()) {
		require.NoError(t, err)
		ids = append(ids, info.ID)
	}
	slices.Sort(ids)
	return ids
}

// TestSessions lists more sessions than a page holds, among keys that do not
// belong to a session.
func TestSessions(t *testing.T) {
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

// TestGlobCharactersInPrefix: each prefix, read as a pattern, matches others.
// Each store still finds only its own sessions.
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

// repeatScans is a hook that makes SCAN find keys twice, as may happen while
// the server's table grows. The last page repeats the keys of the earlier
// pages.
type repeatScans struct {
	recorder
	found []string
}

func (r *repeatScans) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return r.recorder.ProcessHook(func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if scan, ok := cmd.(*redis.ScanCmd); ok {
			page, cursor := scan.Val()
			if cursor == 0 {
				scan.SetVal(slices.Concat(page, page, r.found), 0)
			}
			r.found = append(r.found, page...)
		}
		return err
	})
}

func TestSessionsOnceAndNoFurther(t *testing.T) {
	f := newFixture(t, onServer)
	for n := range 20 {
		add(t, f.Session(fmt.Sprint(n)), Item(`{}`))
	}
	hook := &repeatScans{}
	f.client.AddHook(hook)
	require.Len(t, allIDs(t, f.Store), 20)
	hook.trips = nil
	for _, err := range f.Sessions(t.Context()) {
		require.NoError(t, err)
		break
	}
	lookedAt := slices.DeleteFunc(hook.trips, func(trip string) bool { return trip == "scan" })
	require.Len(t, lookedAt, 1, "it goes on after the loop has ended")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	given := 0
	for _, err := range f.Sessions(ctx) {
		last = err
		given++
		cancel()
	}
	if last != nil { // otherwise there was only one page
		require.ErrorIs(t, last, context.Canceled)
		require.ErrorContains(t, last, "redisstore: Sessions: ")
	}
	require.NotZero(t, given)
}

// failPipelines is a hook that makes every pipeline fail, and so each look at a
// session.
type failPipelines struct{ recorder }

func (*failPipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			cmd.SetErr(io.ErrUnexpectedEOF)
		}
		return io.ErrUnexpectedEOF
	}
}

// TestSessionsLeavesNothingOut: if Sessions cannot look at a session, it
// returns an error.
func TestSessionsLeavesNothingOut(t *testing.T) {
	f := newFixture(t, onServer)
	add(t, f.Session("s"), Item(`{}`))
	client := onServer.newClient(t)
	client.AddHook(&failPipelines{})
	store, err := New(client, WithPrefix(f.prefix))
	require.NoError(t, err)
	var errs []error
	for info, err := range store.Sessions(t.Context()) {
		require.Zero(t, info)
		errs = append(errs, err)
	}
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], io.ErrUnexpectedEOF)
	require.ErrorContains(t, errs[0], "redisstore: Sessions: ")
}

// TestLoopMayUseStore clears each session in the loop, and adds others.
func TestLoopMayUseStore(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s)
		for n := range 100 {
			add(t, f.Session(fmt.Sprint("old-", n)), Item(`{}`))
		}
		seen := map[string]bool{}
		for info, err := range f.Sessions(t.Context()) {
			id := info.ID
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

// TestTimesOfSessions: the times come from the hash, if it holds valid times.
func TestTimesOfSessions(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s)
		start := time.Now().Truncate(time.Second).UTC()
		add(t, f.Session("new"), Item(`{}`))
		for id, fields := range map[string][]any{
			"of Python": {"created_at", "1700000000", "updated_at", "1700000001"},
			"older":     {"created_at", "-1", "updated_at", "0"},
			"of others": {"created_at", "yesterday", "updated_at", "1e9"},
			"far":       {"created_at", "253402300799", "updated_at", "253402300800"},
			"none":      {},
		} {
			fields = append(fields, "session_id", id)
			require.NoError(t, f.client.HSet(t.Context(), f.config.keys(id).hash, fields...).Err())
		}
		got := map[string]encsession.SessionInfo{}
		for info, err := range f.Sessions(t.Context()) {
			require.NoError(t, err)
			got[info.ID] = info
		}
		added := got["new"]
		delete(got, "new")
		require.Equal(t, added.CreatedAt, added.UpdatedAt)
		require.WithinDuration(t, start, added.CreatedAt, time.Minute)
		require.Equal(t, map[string]encsession.SessionInfo{
			"of Python": {ID: "of Python", CreatedAt: time.Unix(1_700_000_000, 0).UTC(), UpdatedAt: time.Unix(1_700_000_001, 0).UTC()},
			"older":     {ID: "older", UpdatedAt: time.Unix(0, 0).UTC()},
			"of others": {ID: "of others"},
			"far":       {ID: "far", CreatedAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
			"none":      {ID: "none"},
		}, got)
	})
}

// TestScanThatComesToNoEnd: if a server's cursors go round in a circle, or go
// on for ever, Sessions stops asking.
func TestScanThatComesToNoEnd(t *testing.T) {
	for name, next := range map[string]func(cursor uint64) uint64{
		"the same cursor": func(uint64) uint64 { return 7 },
		"a circle":        func(cursor uint64) uint64 { return 1 + cursor%1000 },
		"always another":  func(cursor uint64) uint64 { return cursor + 1 },
	} {
		var at scan
		if name == "always another" {
			at.pages = maxPages - 1000 // the full count would take longest
		}
		var err error
		for more := true; more; {
			more, err = at.next(next(at.cursor))
		}
		require.ErrorIs(t, err, errReply, name)
	}
	var at scan
	for cursor := range uint64(100_000) {
		more, err := at.next(99_999 - cursor)
		require.NoError(t, err)
		require.Equal(t, cursor != 99_999, more)
	}
}
