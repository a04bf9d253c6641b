package sqlstore

import (
	"context"
	"fmt"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
)

// BenchmarkFleet audits and rekeys many sessions, while another client adds to
// a session of its own. It reports the sessions per second, the highest heap in
// MiB, and the longest call of that client in ms. ENCSESSION_FLEET names
// another number of sessions, and of items in each, as in 1000000x2.
func BenchmarkFleet(b *testing.B) {
	sessions, items := 2_000, 20
	if testing.Short() {
		sessions = 100
	}
	if text := os.Getenv("ENCSESSION_FLEET"); text != "" {
		n, each, _ := strings.Cut(text, "x")
		var err, errEach error
		sessions, err = strconv.Atoi(n)
		items, errEach = strconv.Atoi(each)
		require.NoError(b, err)
		require.NoError(b, errEach)
	}
	older, current := fleetKey(b), fleetKey(b)
	onEachBench(b, func(b *testing.B, f *fixture) {
		// database/sql keeps two idle connections, and would close and open others
		// all the time.
		f.db.SetMaxIdleConns(10)
		fillFleet(b, f, older, sessions, items)
		open := func(_ context.Context, id string) (*encsession.EncryptedSession, error) {
			return encsession.New(f.Session(id), encsession.Keyring{Current: current, Older: []encsession.Key{older}},
				encsession.WithTTL(encsession.NoExpiry))
		}
		for _, workers := range []int{1, 8} {
			b.Run(fmt.Sprint("audit/workers=", workers), func(b *testing.B) {
				operateFleet(b, f, sessions, func(told fleet.Option) (fleet.Summary, error) {
					return fleet.Audit(b.Context(), f.Sessions(b.Context()), open, fleet.WithWorkers(workers), told)
				})
			})
			b.Run(fmt.Sprint("rekey/workers=", workers), func(b *testing.B) {
				operateFleet(b, f, sessions, func(told fleet.Option) (fleet.Summary, error) {
					return fleet.Rekey(b.Context(), f.Sessions(b.Context()), open, fleet.WithWorkers(workers),
						fleet.WithFirstUse(current.Fingerprint()), told)
				})
				older, current = current, older // for the next rekey
			})
		}
	})
}

func fleetKey(b *testing.B) encsession.Key {
	key, err := encsession.ParseKey(encsession.GenerateKey())
	require.NoError(b, err)
	return key
}

// fillFleet makes sessions with items of about 200 bytes, sealed under a key.
func fillFleet(b *testing.B, f *fixture, key encsession.Key, sessions, items int) {
	text := encsession.Item(fmt.Sprintf(`{"role":"user","content":"%0170d"}`, 0))
	var rows, messages []any
	for i := range sessions {
		id := fmt.Sprintf("user-%07d", i)
		sealer, err := encsession.NewSealer(id, encsession.Keyring{Current: key}, time.Hour)
		require.NoError(b, err)
		rows = append(rows, id)
		for range items {
			sealed, err := sealer.Seal(text)
			require.NoError(b, err)
			messages = append(messages, id, string(sealed))
		}
		if len(messages) >= 2_000 || i == sessions-1 {
			f.exec(b, "INSERT INTO {sessions} (session_id) VALUES "+list("(?)", len(rows)), rows...)
			f.exec(b, "INSERT INTO {messages} (session_id, message_data) VALUES "+list("(?, ?)", len(messages)/2), messages...)
			rows, messages = nil, nil
		}
	}
	if f.dialect == PostgreSQL {
		// The server does this by itself, a minute after such a load.
		f.exec(b, "VACUUM ANALYZE {messages}")
		f.exec(b, "VACUUM ANALYZE {sessions}")
	}
}

func operateFleet(b *testing.B, f *fixture, sessions int, operate func(told fleet.Option) (fleet.Summary, error)) {
	other := f.secondHandle(b).Session("another client")
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	peak, seen := uint64(0), 0
	told := fleet.WithResults(func(fleet.Result) {
		if seen++; seen%100 == 1 {
			metrics.Read(heap)
			peak = max(peak, heap[0].Value.Uint64())
		}
	})
	var longest time.Duration
	for b.Loop() {
		stop := addMeanwhile(b, other)
		_, err := operate(told)
		longest = max(longest, stop())
		require.NoError(b, err)
		require.NoError(b, other.ClearSession(b.Context()))
	}
	require.GreaterOrEqual(b, seen, b.N*sessions)
	b.ReportMetric(float64(b.N*sessions)/b.Elapsed().Seconds(), "sessions/s")
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
	b.ReportMetric(float64(longest.Milliseconds()), "longest-ms")
}
