package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fernet/fernet-go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// Run the benchmarks like this, with the variables of setup_test.go:
//
//	go test -run '^$' -bench . -benchtime 2s
//
// The metric x-bare is the time of the store divided by the time of the bare
// client. The two run in turns. The bare client sends the commands that a
// program without this package would send: those of Python's RedisSession.

// benchItems returns n items of that size.
func benchItems(n, size int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item(fmt.Sprintf(`{"n":%d,"content":"%s"}`, 100_000+i, strings.Repeat("x", size-26)))
	}
	return items
}

// compare measures the store against the bare client. They run in turns, so
// that both see the same server and the same machine.
func compare(b *testing.B, store, bare func()) {
	var storeTime, bareTime time.Duration
	for b.Loop() {
		start := time.Now()
		store()
		between := time.Now()
		bare()
		storeTime += between.Sub(start)
		bareTime += time.Since(between)
	}
	b.ReportMetric(float64(storeTime.Nanoseconds())/float64(b.N), "store-ns/op")
	b.ReportMetric(float64(storeTime)/float64(bareTime), "x-bare")
}

// bareAdd sends the MULTI of Python's add_items.
func (f *fixture) bareAdd(b *testing.B, id string, items []Item) {
	k := f.config.keys(id)
	now := fmt.Sprint(time.Now().Unix())
	args := make([]any, len(items))
	for i, item := range items {
		args[i] = []byte(item)
	}
	_, err := f.client.TxPipelined(b.Context(), func(multi redis.Pipeliner) error {
		multi.HSet(b.Context(), k.hash, "session_id", id)
		multi.HSetNX(b.Context(), k.hash, "created_at", now)
		multi.RPush(b.Context(), k.messages, args...)
		multi.HSet(b.Context(), k.hash, "updated_at", now)
		return nil
	})
	require.NoError(b, err)
}

func BenchmarkAdd(b *testing.B) {
	for _, size := range []int{500, 16_000} {
		for _, n := range []int{1, 10, 1000} {
			b.Run(fmt.Sprintf("%dx%d", n, size), func(b *testing.B) {
				f := newFixture(b, onServer)
				items := benchItems(n, size)
				shorten := func(id string) { // so that the server's memory does not grow
					require.NoError(b, f.client.LTrim(b.Context(), f.config.keys(id).messages, -1, -1).Err())
				}
				compare(b,
					func() { require.NoError(b, f.Session("store").AddItems(b.Context(), items...)); shorten("store") },
					func() { f.bareAdd(b, "bare", items); shorten("bare") })
			})
		}
	}
}

func BenchmarkGet(b *testing.B) {
	for _, limit := range []int{1, 50, 500} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			f := newFixture(b, onServer)
			add(b, f.Session("s"), benchItems(1000, 500)...)
			compare(b,
				func() {
					items, err := f.Session("s").GetItems(b.Context(), limit)
					require.NoError(b, err)
					require.Len(b, items, limit)
				},
				func() {
					texts, err := f.client.LRange(b.Context(), f.config.keys("s").messages, int64(-limit), -1).Result()
					require.NoError(b, err)
					items := make([]Item, len(texts))
					for i, text := range texts {
						items[i] = Item(text)
					}
					require.Len(b, items, limit)
				})
		})
	}
}

// BenchmarkLongHistory reads the newest 50 of 100,000 items, and of 100 items.
// The metric x-short is the quotient of the two times.
func BenchmarkLongHistory(b *testing.B) {
	f := newFixture(b, onServer)
	items := benchItems(1000, 500)
	for range 100 {
		add(b, f.Session("long"), items...)
	}
	add(b, f.Session("short"), items[:100]...)
	get := func(id string) (took time.Duration) {
		start := time.Now()
		got, err := f.Session(id).GetItems(b.Context(), 50)
		took = time.Since(start)
		require.NoError(b, err)
		require.Len(b, got, 50)
		return took
	}
	var long, short time.Duration
	for b.Loop() {
		short += get("short")
		long += get("long")
	}
	b.ReportMetric(float64(long)/float64(short), "x-short")
}

// BenchmarkPop pops an item that has been added before. The bare client uses
// RPOP, which also takes elements that are not items.
func BenchmarkPop(b *testing.B) {
	f := newFixture(b, onServer)
	list := f.config.keys("s").messages
	add(b, f.Session("s"), benchItems(1000, 500)...)
	item := []byte(benchItems(1, 500)[0])
	push := func() { require.NoError(b, f.client.RPush(b.Context(), list, item).Err()) }
	compare(b,
		func() {
			push()
			got, err := f.Session("s").PopItem(b.Context())
			require.NoError(b, err)
			require.NotNil(b, got)
		},
		func() {
			push()
			require.NoError(b, f.client.RPop(b.Context(), list).Err())
		})
}

// BenchmarkRewriteAll replaces all items of a session. The bare client uses
// LSET in a MULTI, which does not look at the elements that it replaces.
func BenchmarkRewriteAll(b *testing.B) {
	for _, size := range []int{500, 16_000} {
		for _, n := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%dx%d", n, size), func(b *testing.B) {
				f := newFixture(b, onServer)
				old := benchItems(n, size)
				add(b, f.Session("s"), old...)
				new := make([]Item, n)
				for i, item := range old {
					new[i] = Item(strings.ReplaceAll(string(item), "xx", "yy"))
				}
				list := f.config.keys("s").messages
				compare(b,
					func() {
						left := n
						changed, err := f.Session("s").RewriteItems(b.Context(), n, func(stored []Item) ([]Item, bool) {
							left -= len(stored)
							return new[left : left+len(stored)], left > 0
						})
						require.NoError(b, err)
						require.Equal(b, n, changed)
					},
					func() {
						_, err := f.client.TxPipelined(b.Context(), func(multi redis.Pipeliner) error {
							for i, item := range old {
								multi.LSet(b.Context(), list, int64(i-n), []byte(item))
							}
							return nil
						})
						require.NoError(b, err)
					})
			})
		}
	}
}

// BenchmarkRewrite replaces or removes each item of one session while another
// client works on the same server. The metric long-call-ms is the longest time
// that a call of that client took.
func BenchmarkRewrite(b *testing.B) {
	for name, edit := range map[string]func(i int, item Item) Item{
		"replace": func(_ int, item Item) Item { return Item(strings.ToUpper(string(item))) },
		"remove":  func(int, Item) Item { return nil },
		"remove every other": func(i int, item Item) Item {
			if i%2 == 0 {
				return nil
			}
			return item
		},
	} {
		for _, n := range growth() {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				f := newFixture(b, onServer)
				items := make([]Item, n)
				for i := range items {
					// Tokens have no long runs of equal text, which Lua hashes
					// badly.
					token := make([]byte, 194)
					_, _ = rand.Read(token)
					items[i] = Item(fmt.Sprintf(`{"token":"%x"}`, token))
				}
				var longest time.Duration
				for b.Loop() {
					b.StopTimer()
					require.NoError(b, f.Session("s").ClearSession(b.Context()))
					add(b, f.Session("s"), items...)
					stop := f.watch(b)
					b.StartTimer()
					_, err := f.Session("s").RewriteItems(b.Context(), 1, func(stored []Item) ([]Item, bool) {
						new := make([]Item, len(stored))
						for i, item := range stored {
							new[i] = edit(i, item)
						}
						return new, true
					})
					b.StopTimer()
					require.NoError(b, err)
					longest = max(longest, stop())
					b.StartTimer()
				}
				b.ReportMetric(float64(longest.Microseconds())/1000, "long-call-ms")
			})
		}
	}
}

// watch calls the store again and again on another connection, until stop is
// called. Then stop returns the time of the longest call.
func (f *fixture) watch(b *testing.B) (stop func() time.Duration) {
	client := onServer.newClient(b)
	store, err := New(client, WithPrefix(f.prefix))
	require.NoError(b, err)
	add(b, store.Session("other"), numbered(1, 1)...) // makes a connection
	done, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		for {
			select {
			case <-done:
				longest <- most
				return
			default:
				start := time.Now()
				_, err := store.Session("other").GetItems(context.Background(), 10)
				most = max(most, time.Since(start))
				if err != nil {
					b.Error(err)
				}
			}
		}
	}()
	return func() time.Duration { close(done); return <-longest }
}

// BenchmarkSessions lists 10,000 sessions.
func BenchmarkSessions(b *testing.B) {
	f := newFixture(b, onServer)
	for n := range 10_000 {
		add(b, f.Session(fmt.Sprint("user-", n)), Item(`{}`))
	}
	for b.Loop() {
		require.Len(b, allIDs(b, f.Store), 10_000)
	}
}

// growth returns the numbers of items to compare. Under -short, with which CI
// runs every benchmark once, it returns a tenth of them.
func growth() []int {
	if testing.Short() {
		return []int{1_000, 10_000}
	}
	return []int{10_000, 100_000}
}

// BenchmarkEncrypted measures the cost of encryption through the store, with
// items of 1 kB. It calls these in turns:
//
//   - plain is the store by itself, and encrypted an EncryptedSession over it;
//   - the floor of a read is the bare client reading the same rows, and
//     fernet-go opening them in a plain loop.
//
// The metrics x-floor and x-plain are quotients: the median time of encrypted,
// divided by that of the floor or of plain.
//
//	go test -run '^$' -bench Encrypted -benchtime 400x -cpu 1,2
func BenchmarkEncrypted(b *testing.B) {
	const stored = 200
	f := newFixture(b, onServer)
	items := benchItems(stored, 1000)
	plain := f.Session("plain")
	encrypted, err := encsession.New(f.Session("encrypted"), newKey(b))
	require.NoError(b, err)
	add(b, plain, items...)
	add(b, encrypted, items...)
	for _, limit := range []int{200, 50} {
		b.Run(fmt.Sprintf("Get%d", limit), func(b *testing.B) {
			get := func(s encsession.Session) func() {
				return func() {
					got, err := s.GetItems(b.Context(), limit)
					require.NoError(b, err)
					require.Len(b, got, limit)
				}
			}
			medians := inTurns(b, get(encrypted), get(plain), f.floor(b, items, limit))
			b.ReportMetric(medians[0]/medians[2], "x-floor")
			b.ReportMetric(medians[0]/medians[1], "x-plain")
		})
	}
	b.Run("Add4", func(b *testing.B) {
		four := func(s encsession.Session) func() {
			return func() { require.NoError(b, s.AddItems(b.Context(), items[:4]...)) }
		}
		medians := inTurns(b, four(encrypted), four(plain))
		b.ReportMetric(medians[0]/medians[1], "x-plain")
	})
	b.Run("Pop", func(b *testing.B) {
		for _, s := range []encsession.Session{encrypted, plain} {
			for left := b.N; left > 0; left -= stored {
				add(b, s, items...)
			}
		}
		pop := func(s encsession.Session) func() {
			return func() {
				got, err := s.PopItem(b.Context())
				require.NoError(b, err)
				require.NotNil(b, got)
			}
		}
		medians := inTurns(b, pop(encrypted), pop(plain))
		b.ReportMetric(medians[0]/medians[1], "x-plain")
	})
}

// inTurns calls each function b.N times, in turns. It reports and returns the
// median time of each in microseconds.
func inTurns(b *testing.B, calls ...func()) []float64 {
	times := make([][]float64, len(calls))
	for range b.N {
		for i, call := range calls {
			start := time.Now()
			call()
			times[i] = append(times[i], float64(time.Since(start).Nanoseconds())/1000)
		}
	}
	medians := make([]float64, len(calls))
	for i, name := range []string{"encrypted-µs", "plain-µs", "floor-µs"}[:len(calls)] {
		slices.Sort(times[i])
		medians[i] = times[i][len(times[i])/2]
		b.ReportMetric(medians[i], name)
	}
	return medians
}

// floor stores rows of the same size and shape as those of an EncryptedSession.
// It returns a function that reads and opens them.
func (f *fixture) floor(b *testing.B, items []Item, limit int) func() {
	const before, after = `{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"`, `"}`
	var key fernet.Key
	require.NoError(b, key.Generate())
	var rows []any
	for _, item := range items {
		token, err := fernet.EncryptAndSign(item, &key)
		require.NoError(b, err)
		rows = append(rows, before+string(token)+after)
	}
	list := f.config.keys("floor").messages
	require.NoError(b, f.client.Del(b.Context(), list).Err())
	require.NoError(b, f.client.RPush(b.Context(), list, rows...).Err())
	keys := []*fernet.Key{&key}
	return func() {
		rows, err := f.client.LRange(b.Context(), list, int64(-limit), -1).Result()
		require.NoError(b, err)
		got := make([]Item, len(rows))
		for i, row := range rows {
			got[i] = fernet.VerifyAndDecrypt([]byte(row[len(before):len(row)-len(after)]), time.Hour, keys)
		}
		require.Len(b, got, limit)
		require.NotNil(b, got[0])
	}
}
