package fleet_test

import (
	"context"
	"fmt"
	"iter"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/stretchr/testify/require"
)

const benchItems = 20

// atScale returns a number of sessions. Under -short, it returns a tenth of it:
// CI runs every benchmark once in this way.
func atScale(sessions int) int {
	if testing.Short() {
		return sessions / 10
	}
	return sessions
}

// BenchmarkFleet works on 10,000 sessions in memory, each with 20 items of
// about 200 bytes. Before a rekey, one session in a hundred holds an item under
// the current key, as in a change of keys.
func BenchmarkFleet(b *testing.B) {
	text := fmt.Sprintf(`{"role":"user","content":"%0180d"}`, 0)
	keys := ring(b, 1, 2)
	benchSessions := atScale(10_000)
	fill := func(b *testing.B) *store {
		s := newStore(b, keys)
		for i := range benchSessions {
			id := fmt.Sprintf("user-%d", i)
			older, err := encsession.NewSealer(id, ring(b, 2), time.Hour)
			require.NoError(b, err)
			sealed := make([]encsession.Item, benchItems)
			for n := range sealed {
				sealed[n], err = older.Seal(encsession.Item(text))
				require.NoError(b, err)
			}
			require.NoError(b, s.session(id).AddItems(b.Context(), sealed...))
			if i%100 == 0 {
				s.add(id, newKey(b, 1), 1)
			}
		}
		return s
	}
	for _, name := range []string{"Audit", "Rekey", "RekeyAgain"} {
		for _, workers := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/workers=%d", name, workers), func(b *testing.B) {
				s := fill(b)
				operate := fleet.Audit
				if name != "Audit" {
					operate = fleet.Rekey
				}
				if name == "RekeyAgain" {
					_, err := fleet.Rekey(b.Context(), s.sessions(), s.open)
					require.NoError(b, err)
				}
				b.ResetTimer()
				for n := range b.N {
					if n > 0 && name == "Rekey" {
						b.StopTimer()
						s = fill(b)
						b.StartTimer()
					}
					_, err := operate(b.Context(), s.sessions(), s.open, fleet.WithWorkers(workers))
					require.NoError(b, err)
				}
				b.ReportMetric(float64(b.N*benchSessions)/b.Elapsed().Seconds(), "sessions/s")
			})
		}
	}
}

// BenchmarkPeakHeap reports the highest heap during the audit of 100,000
// sessions of 20 items, which are made as they are listed and opened.
func BenchmarkPeakHeap(b *testing.B) {
	n := atScale(100_000)
	key := newKey(b, 1)
	sealer, err := encsession.NewSealer("all", ring(b, 1), time.Hour)
	require.NoError(b, err)
	items := make([]encsession.Item, benchItems)
	for i := range items {
		items[i], err = sealer.Seal(encsession.Item(fmt.Sprintf(`{"role":"user","content":"%0180d"}`, 0)))
		require.NoError(b, err)
	}
	sessions := iter.Seq2[encsession.SessionInfo, error](func(yield func(encsession.SessionInfo, error) bool) {
		for i := range n {
			if !yield(encsession.SessionInfo{ID: fmt.Sprintf("user-%d", i)}, nil) {
				return
			}
		}
	})
	open := func(ctx context.Context, id string) (*encsession.EncryptedSession, error) {
		store := encsession.NewMemorySession(id)
		if err := store.AddItems(ctx, items...); err != nil {
			return nil, err
		}
		return encsession.New(store, key, encsession.WithSessionID("all"))
	}
	for _, workers := range []int{1, 8} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
			peak, seen := uint64(0), 0
			for range b.N {
				summary, err := fleet.Audit(b.Context(), sessions, open, fleet.WithWorkers(workers), fleet.WithResults(func(fleet.Result) {
					if seen++; seen%100 == 0 {
						metrics.Read(heap)
						peak = max(peak, heap[0].Value.Uint64())
					}
				}))
				require.NoError(b, err)
				require.Equal(b, n*benchItems, summary.Report.Readable)
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "sessions/s")
		})
	}
}
