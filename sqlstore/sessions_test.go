package sqlstore

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

func sessionIDs(t testing.TB, s *Store) []string {
	t.Helper()
	ids := []string{}
	for info, err := range s.Sessions(t.Context()) {
		require.NoError(t, err)
		ids = append(ids, info.ID)
	}
	return ids
}

// insertSessions fills the sessions table without the store.
func (f *fixture) insertSessions(t testing.TB, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("session-%06d", i))
	}
	for part := range slices.Chunk(ids, 500) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		f.exec(t, "INSERT INTO {sessions} (session_id) VALUES "+list("(?)", len(part)), args...)
	}
	return ids
}

func TestSessions(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			f := newFixture(t, b, by)
			require.Empty(t, sessionIDs(t, f.Store))
			add(t, f.Session("popped"), numbered(1, 1)...)
			pop(t, f.Session("popped"))
			add(t, f.Session("cleared"), numbered(1, 1)...)
			require.NoError(t, f.Session("cleared").ClearSession(t.Context()))
			want := []string{"", "'; DROP", "a", "a\n", "popped"}
			for _, id := range []string{"a", "'; DROP", "", "a\n"} {
				add(t, f.Session(id), numbered(1, 3)...)
			}
			require.ElementsMatch(t, want, sessionIDs(t, f.Store))
		}
	})
}

// TestSessionsThatShareARow lists IDs that a collation treats as equal, each
// once.
func TestSessionsThatShareARow(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range inconsiderate[b.dialect] {
			f := newFixture(t, b, by)
			want := f.insertSessions(t, 300)
			for i := range 220 { // more than a query returns
				id := fmt.Sprintf("SESSION-%06d", i)
				want = append(want, id)
			}
			for _, id := range want[300:] {
				add(t, f.Session(id), numbered(1, 2)...)
			}
			require.ElementsMatch(t, want, sessionIDs(t, f.Store))
		}
	})
}

// TestSessionsOnOneConnection uses the store in the body of the loop, and
// leaves the loop early.
func TestSessionsOnOneConnection(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		f.db.SetMaxOpenConns(1)
		f.insertSessions(t, 10)
		seen := 0
		for info, err := range f.Sessions(t.Context()) {
			require.NoError(t, err)
			add(t, f.Session(info.ID), numbered(1, 1)...)
			require.NoError(t, f.Session(info.ID).ClearSession(t.Context()))
			if seen++; seen == 7 {
				break
			}
		}
		require.Len(t, sessionIDs(t, f.Store), 3)
		require.Zero(t, f.db.Stats().InUse)
	})
}

func TestSessionsErrors(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		f := newFixture(t, b, ours)
		f.insertSessions(t, 500)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		seen, failed := 0, 0
		for info, err := range f.Sessions(ctx) {
			if err != nil {
				failed++
				require.Zero(t, info)
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorContains(t, err, "sqlstore: Sessions: ")
				continue
			}
			seen++
			cancel()
		}
		require.Equal(t, sessionsPerQuery, seen)
		require.Equal(t, 1, failed)
	})
}

// TestSessionsMemory measures the memory in use while 100,000 sessions pass. On
// the servers, on the second driver of SQLite, and under the race detector it
// is 20,000. The test does not run beside other tests.
func TestSessionsMemory(t *testing.T) {
	for i, b := range backends {
		n := 20_000
		if i == 0 && !raced {
			n = 100_000
		}
		t.Run(b.name, func(t *testing.T) {
			f := newFixture(t, b, ours)
			f.insertSessions(t, n)
			before, most, seen := heap(), uint64(0), 0
			for _, err := range f.Sessions(t.Context()) {
				require.NoError(t, err)
				if seen++; seen%2_000 == 500 {
					most = max(most, heap())
				}
			}
			require.Equal(t, n, seen)
			grown := int64(most) - int64(before)
			t.Logf("the heap grew by %d KB at most", grown>>10)
			require.Less(t, grown, int64(2<<20))
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// TestSessionTimes compares the times that Sessions returns with those that
// other clients have written.
func TestSessionTimes(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		for _, by := range append([]tablesOf{ours}, madeByPython[b.dialect]...) {
			f := newFixture(t, b, by)
			start := time.Now().Add(-2 * time.Second)
			add(t, f.Session("new"), numbered(1, 1)...)
			f.exec(t, "INSERT INTO {sessions} (session_id, created_at, updated_at) VALUES ('old', '2020-01-02 03:04:05', '2021-06-07 08:09:10')")
			store := f.Store
			if b.dialect != SQLite { // its times are in UTC in any case
				store = f.in(t, map[Dialect]string{PostgreSQL: "timezone=UTC", MySQL: "time_zone=%27%2B00:00%27"}[b.dialect])
			}
			if b.dialect == MySQL {
				f.exec(t, "DELETE FROM {sessions} WHERE session_id = 'old'")
				_, err := store.db.Exec(f.tables.fill("INSERT INTO {sessions} (session_id, created_at, updated_at) VALUES ('old', '2020-01-02 03:04:05', '2021-06-07 08:09:10')"))
				require.NoError(t, err)
			}
			found := map[string]encsession.SessionInfo{}
			for info, err := range store.Sessions(t.Context()) {
				require.NoError(t, err)
				found[info.ID] = info
			}
			require.Len(t, found, 2)
			require.Equal(t, encsession.SessionInfo{
				ID: "old", CreatedAt: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), UpdatedAt: time.Date(2021, 6, 7, 8, 9, 10, 0, time.UTC),
			}, found["old"])
			for _, at := range []time.Time{found["new"].CreatedAt, found["new"].UpdatedAt} {
				require.WithinRange(t, at, start, time.Now().Add(2*time.Second))
			}
		}
	})
}
