package encsession_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/hkdf"

	"github.com/encsession/encsession"
)

// The benchmarks compare a method with the bare cryptography in it. Both work
// on the same items, turn by turn in one run. GetItems and AddItems are
// compared with a loop over fernet-go, New with HKDF, and a KeySource with a
// Key. The store is a sharingStore, which copies nothing, so that they measure
// this package alone.
//
//	go test -run '^$' -bench . -cpu 1 . && go test -run '^$' -bench . -cpu 2 .
//
// ns/op is the time of the method. bare-ns/op is the time of the bare loop,
// which runs on one core. ratio is the median of the ratios of the turns.
// Machines are noisy: trust the ratio. `go run ./compare` makes more
// comparisons.

// sharingStore is a store that copies nothing and takes no time. The caller
// must not change the items that it returns, so it is not a proper Session. It
// is not safe for concurrent use.
type sharingStore struct{ items []encsession.Item }

func (*sharingStore) SessionID() string { return sessionID }

func (s *sharingStore) GetItems(_ context.Context, limit int) ([]encsession.Item, error) {
	if limit > 0 && limit < len(s.items) {
		return s.items[len(s.items)-limit:], nil
	}
	return s.items, nil
}

func (s *sharingStore) AddItems(_ context.Context, items ...encsession.Item) error {
	s.items = append(s.items, items...)
	return nil
}

func (s *sharingStore) PopItem(context.Context) (item encsession.Item, err error) {
	if last := len(s.items) - 1; last >= 0 {
		item, s.items = s.items[last], s.items[:last]
	}
	return item, nil
}

func (s *sharingStore) ClearSession(context.Context) error {
	s.items = s.items[:0]
	return nil
}

// benchmarkItems returns messages as an agent stores them: mostly ASCII, with
// an escape and a character beyond ASCII now and then.
func benchmarkItems(n, size int) []encsession.Item {
	const prose = `Your flight leaves at 14:05 from gate B12, and the allowance for hand luggage is 8 kg. There is a café on the left, ` +
		`behind the security check. Shall I book the seat by the window for you?\n`
	items := make([]encsession.Item, n)
	for i := range items {
		head := fmt.Sprintf(`{"type":"message","id":"msg_%08d","role":"assistant","status":"completed","content":[{"type":"output_text","text":"`, i)
		const tail = `","annotations":[]}]}`
		text := strings.Repeat(prose, size/len(prose)+1)
		text = text[:strings.LastIndexByte(text[:size-len(head)-len(tail)], ' ')]
		items[i] = encsession.Item(head + text + strings.Repeat(".", size-len(head)-len(text)-len(tail)) + tail)
	}
	return items
}

func eachSize(b *testing.B, run func(b *testing.B, items []encsession.Item)) {
	for _, n := range []int{1, 50, 1000} {
		for _, size := range []int{200, 1000, 16000} {
			b.Run(fmt.Sprintf("%dx%dB", n, size), func(b *testing.B) { run(b, benchmarkItems(n, size)) })
		}
	}
}

// ballast is the number of bytes that a small server has on its heap anyway.
// With an empty heap, the garbage collector runs with every call, and takes the
// time of the second core.
const ballast = 64 << 20

// alternate times ours and bare in turn, and reports both and their ratio.
func alternate(b *testing.B, ours, bare func()) {
	heap := make([]byte, ballast)
	defer runtime.KeepAlive(heap)
	var total [2]time.Duration
	var ratios []float64
	for b.Loop() {
		start := time.Now()
		ours()
		middle := time.Now()
		bare()
		mine, theirs := middle.Sub(start), time.Since(middle)
		total[0], total[1] = total[0]+mine, total[1]+theirs
		ratios = append(ratios, float64(mine)/float64(theirs))
	}
	slices.Sort(ratios)
	b.ReportMetric(float64(total[0])/float64(b.N), "ns/op")
	b.ReportMetric(float64(total[1])/float64(b.N), "bare-ns/op")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}

func bareKey(ikm []byte) []*fernet.Key {
	f := newForger(ikm, sessionID)
	key := fernet.Key(append(slices.Clone(f.sign), f.encrypt...))
	return []*fernet.Key{&key}
}

func BenchmarkGetItems(b *testing.B) {
	eachSize(b, func(b *testing.B, items []encsession.Item) {
		ctx := context.Background()
		session := newSession(b, new(sharingStore), testKey(b, 0), encsession.WithTTL(encsession.NoExpiry))
		require.NoError(b, session.AddItems(ctx, items...))
		var tokens [][]byte
		for _, item := range items {
			token, err := fernet.EncryptAndSign(item, bareKey(testIKM(0))[0])
			require.NoError(b, err)
			tokens = append(tokens, token)
		}
		keys := bareKey(testIKM(0))
		alternate(b, func() {
			got, err := session.GetItems(ctx, 0)
			if err != nil || len(got) != len(items) {
				b.Fatal(len(got), err)
			}
		}, func() {
			for _, token := range tokens {
				if fernet.VerifyAndDecrypt(token, 0, keys) == nil {
					b.Fatal("not authentic")
				}
			}
		})
	})
}

func BenchmarkAddItems(b *testing.B) {
	eachSize(b, func(b *testing.B, items []encsession.Item) {
		ctx := context.Background()
		session := newSession(b, new(sharingStore), testKey(b, 0), encsession.WithTTL(encsession.NoExpiry))
		keys := bareKey(testIKM(0))
		alternate(b, func() {
			if err := session.AddItems(ctx, items...); err != nil {
				b.Fatal(err)
			}
			if err := session.ClearSession(ctx); err != nil {
				b.Fatal(err)
			}
		}, func() {
			for _, item := range items {
				if _, err := fernet.EncryptAndSign(item, keys[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkGrowth reads sessions of different lengths. If it reads all of a
// session, ns/item should stay the same. If it reads the newest 50 items, ns/op
// should.
func BenchmarkGrowth(b *testing.B) {
	ctx := context.Background()
	for _, n := range []int{100, 1_000, 10_000, 100_000} {
		session := newSession(b, new(sharingStore), testKey(b, 0))
		require.NoError(b, session.AddItems(ctx, benchmarkItems(n, 200)...))
		for _, limit := range []int{0, 50} {
			b.Run(fmt.Sprintf("limit=%d/of=%d", limit, n), func(b *testing.B) {
				items := 0
				for b.Loop() {
					got, err := session.GetItems(ctx, limit)
					if err != nil {
						b.Fatal(err)
					}
					items = len(got)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*items), "ns/item")
			})
		}
	}
}

// BenchmarkUnreadable reads the newest 50 readable items of a session in which
// the newest k have expired. This should be O(k + 50).
func BenchmarkUnreadable(b *testing.B) {
	ctx := context.Background()
	f := newForger(testIKM(0), sessionID)
	for _, k := range []int{0, 50, 500, 5_000} {
		store := new(sharingStore)
		session := newSession(b, store, testKey(b, 0))
		require.NoError(b, session.AddItems(ctx, benchmarkItems(10_000, 200)...))
		for _, item := range benchmarkItems(k, 200) {
			require.NoError(b, store.AddItems(ctx, f.envelope(1, string(item))))
		}
		b.Run(fmt.Sprint("k=", k), func(b *testing.B) {
			for b.Loop() {
				items, err := session.GetItems(ctx, 50)
				if err != nil || len(items) != 50 {
					b.Fatal(len(items), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*(k+50)), "ns/item")
		})
	}
}

// BenchmarkNew compares New with the derivation of its key. allocs/op counts
// both.
func BenchmarkNew(b *testing.B) {
	store, key, secret := new(sharingStore), testKey(b, 0), testIKM(0)
	b.ReportAllocs()
	alternate(b, func() {
		for range 100 {
			if _, err := encsession.New(store, key); err != nil {
				b.Fatal(err)
			}
		}
	}, func() {
		for range 100 {
			var derived fernet.Key
			if _, err := io.ReadFull(hkdf.New(sha256.New, secret, []byte(sessionID), []byte("agents.session-store.hkdf.v1")), derived[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkKeySource compares a KeySource that always returns the same keyring
// with a Key. Both read and add one item. ratio shows the cost of asking the
// source and comparing its keys.
func BenchmarkKeySource(b *testing.B) {
	ctx := context.Background()
	item := benchmarkItems(1, 1000)[0]
	for _, older := range []int{0, 1, 4} {
		ring := encsession.Keyring{Current: testKey(b, 0)}
		for i := range older {
			ring.Older = append(ring.Older, testKey(b, byte(1+i)))
		}
		source := encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) { return ring, nil })
		for name, call := range map[string]func(*encsession.EncryptedSession) error{
			"GetItems": func(s *encsession.EncryptedSession) error {
				items, err := s.GetItems(ctx, 1)
				if err == nil && len(items) != 1 {
					return errors.New("nothing is readable")
				}
				return err
			},
			"AddItems": func(s *encsession.EncryptedSession) error {
				if err := s.AddItems(ctx, item); err != nil {
					return err
				}
				_, err := s.Unwrap().PopItem(ctx)
				return err
			},
		} {
			b.Run(fmt.Sprintf("%s/older=%d", name, older), func(b *testing.B) {
				run := func(s *encsession.EncryptedSession) func() {
					require.NoError(b, s.AddItems(ctx, item))
					return func() {
						for range 100 {
							if err := call(s); err != nil {
								b.Fatal(err)
							}
						}
					}
				}
				alternate(b, run(newSession(b, new(sharingStore), source)), run(newSession(b, new(sharingStore), ring)))
			})
		}
	}
}

// BenchmarkOpenSessions holds many sessions open at once, each with a store of
// its own. It reports the heap for each.
func BenchmarkOpenSessions(b *testing.B) {
	key := testKey(b, 0)
	for b.Loop() {
		const n = 1_000_000
		before := heap()
		sessions := make([]*encsession.EncryptedSession, n)
		for i := range sessions {
			var err error
			if sessions[i], err = encsession.New(encsession.NewMemorySession(fmt.Sprintf("user-%d", i)), key); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/n, "heap-B/session")
		runtime.KeepAlive(sessions)
	}
}

// heap returns the number of reachable bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
