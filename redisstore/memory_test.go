//go:build !race

package redisstore

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMemoryOfSessions measures the heap while Sessions gives 100,000 sessions.
// The heap may grow by at most 64 bytes for each. The test does not run beside
// other tests.
func TestMemoryOfSessions(t *testing.T) {
	const n, most = 100_000, 64
	f := newFixture(t, onServer)
	for first := 0; first < n; first += 10_000 {
		pipeline := f.client.Pipeline()
		for i := range 10_000 {
			id := fmt.Sprintf("a-session-with-an-id-as-long-as-a-uuid-%d", first+i)
			pipeline.HSet(t.Context(), f.config.keys(id).hash, "session_id", id, "created_at", "1", "updated_at", "1")
		}
		_, err := pipeline.Exec(t.Context())
		require.NoError(t, err)
	}
	before, grown, seen := heap(), int64(0), 0
	for _, err := range f.Sessions(t.Context()) {
		require.NoError(t, err)
		if seen++; seen%9_000 == 0 || seen == n {
			grown = max(grown, int64(heap())-int64(before))
		}
	}
	require.Equal(t, n, seen)
	t.Logf("%d bytes a session", grown/n)
	require.LessOrEqual(t, grown, int64(most*n))
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
