package sqlstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// These tests run the operations of EncryptedSession over real databases,
// beside other clients, and break them off.

// rekeySession returns a session that writes under one key, and also reads with
// another one. The keys are fixed, because child processes use them.
func rekeySession(s encsession.Session, write, read string, opts ...encsession.Option) (*encsession.EncryptedSession, error) {
	writeKey, err := encsession.ParsePythonKey(write)
	if err != nil {
		return nil, err
	}
	readKey, err := encsession.ParsePythonKey(read)
	if err != nil {
		return nil, err
	}
	keys := encsession.Keyring{Current: writeKey, Older: []encsession.Key{readKey}}
	return encsession.New(s, keys, append(opts, encsession.WithTTL(encsession.NoExpiry), encsession.WithUnreadableHistory())...)
}

const formerKey, currentKey = "the former key of the test", "the current key of the test"

// secondHandle opens the store of a fixture once more, with connections of its
// own, as another process would.
func (f *fixture) secondHandle(t testing.TB) *Store {
	store, err := New(f.open(t, f.dsnText), f.dialect, WithTables(f.sessions, f.messages))
	require.NoError(t, err)
	return store
}

// TestOperationsBesideOthers runs Rekey twice, Purge, SealPlaintext and Audit
// over and over. Beside them, others write under both keys and in plaintext,
// and pop. No item is lost or doubled.
func TestOperationsBesideOthers(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		const each = 30
		f := newFixture(t, b, ours)
		handles := []*Session{f.Session("rekey"), f.secondHandle(t).Session("rekey")}
		var current, former []*encsession.EncryptedSession
		for _, handle := range handles {
			c, err := rekeySession(handle, currentKey, formerKey)
			require.NoError(t, err)
			o, err := rekeySession(handle, formerKey, currentKey)
			require.NoError(t, err)
			current, former = append(current, c), append(former, o)
		}
		// Beside SealPlaintext, a pop needs WithPlaintext. Without it, a pop passes
		// over plaintext, and may come to an older item of the batch that was
		// sealed a moment later.
		popper, err := rekeySession(handles[1], currentKey, formerKey, encsession.WithPlaintext())
		require.NoError(t, err)

		ctx := t.Context()
		var adding, working sync.WaitGroup
		for i, s := range []encsession.Session{former[0], former[1], current[0], current[1], handles[0]} {
			adding.Go(func() {
				for n := range each {
					if err := s.AddItems(ctx, numbered(2*(i*each+n), 2*(i*each+n)+1)...); err != nil {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		var mu sync.Mutex
		seen := map[int]int{}
		for _, work := range []func() error{
			func() error { _, err := current[0].Rekey(ctx); return err },
			func() error { _, err := current[1].Rekey(ctx); return err },
			func() error { _, err := current[0].Purge(ctx, time.Hour); return err },
			func() error { _, err := current[1].SealPlaintext(ctx); return err },
			func() error { _, err := former[0].Audit(ctx); return err },
			func() error {
				item, err := popper.PopItem(ctx)
				if item != nil {
					mu.Lock()
					defer mu.Unlock()
					seen[number(t, item)]++
				}
				return err
			},
		} {
			working.Go(func() {
				for {
					if err := work(); err != nil {
						t.Error(err)
						return
					}
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		adding.Wait()
		close(done)
		working.Wait()

		_, err = current[0].Rekey(ctx)
		require.NoError(t, err)
		_, err = current[0].SealPlaintext(ctx)
		require.NoError(t, err)
		report, err := current[0].Audit(ctx)
		require.NoError(t, err)
		require.Equal(t, report.Items, report.Keys[0].Items, "all is under the current key")
		items, err := current[0].GetItems(ctx, 0)
		require.NoError(t, err)
		for i, item := range items {
			seen[number(t, item)]++
			if n := number(t, item); n%2 == 1 {
				require.Equal(t, n-1, number(t, items[i-1]), "a batch has stayed together")
			}
		}
		require.Len(t, seen, 5*each*2)
		for n, times := range seen {
			require.Equal(t, 1, times, "item %d", n)
		}
	})
}

// TestRekeyBringsNothingBack clears a session while Rekey brings it under
// another key.
func TestRekeyBringsNothingBack(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		const n = 200
		f := newFixture(t, b, ours)
		former, err := rekeySession(f.Session("cleared"), formerKey, currentKey)
		require.NoError(t, err)
		current, err := rekeySession(f.secondHandle(t).Session("cleared"), currentKey, formerKey)
		require.NoError(t, err)
		for range 15 {
			add(t, former, numbered(1, n)...)
			wait := rand.N(5 * time.Millisecond)
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := current.Rekey(t.Context()); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				time.Sleep(wait)
				if err := former.ClearSession(t.Context()); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			requireItems(t, f.Session("cleared"))
		}
	})
}

// TestKilledRekey kills a process in the middle of a Rekey, after its first
// batch, and runs Rekey again. Every item is there, in its place.
func TestKilledRekey(t *testing.T) {
	onEach(t, func(t *testing.T, b backend) {
		const rounds, n = 2, 3000
		f := newFixture(t, b, ours)
		midway := 0
		for round := range rounds {
			sessionID := fmt.Sprint("killed-", round)
			former, err := rekeySession(f.Session(sessionID), formerKey, currentKey)
			require.NoError(t, err)
			add(t, former, numbered(1, n)...)

			killAfterALine(t, f.child(t, "rekey", sessionID, 0))

			current, err := rekeySession(f.Session(sessionID), currentKey, formerKey)
			require.NoError(t, err)
			report, err := current.Audit(t.Context())
			require.NoError(t, err)
			require.Equal(t, n, report.Readable)
			require.NotZero(t, report.Keys[0].Items)
			if report.Keys[1].Items > 0 {
				midway++
			}
			changed, err := current.Rekey(t.Context())
			require.NoError(t, err)
			require.Equal(t, report.Keys[1].Items, changed)
			requireItems(t, current, numbered(1, n)...)
			report, err = current.Audit(t.Context())
			require.NoError(t, err)
			require.Equal(t, []int{n, 0}, []int{report.Keys[0].Items, report.Keys[1].Items})
		}
		require.Positive(t, midway, "no kill came between two batches")
	})
}

// childRekey brings a session under the current key, and reports each batch.
func childRekey(args []string) error {
	s, _, err := childSession(args)
	if err != nil {
		return err
	}
	current, err := rekeySession(tellingSession{s}, currentKey, formerKey)
	if err != nil {
		return err
	}
	_, err = current.Rekey(context.Background())
	return err
}

// tellingSession prints a line when a batch has been changed, and then waits,
// so that there is a moment to kill the process in.
type tellingSession struct{ *Session }

func (s tellingSession) RewriteItems(ctx context.Context, first int, edit func([]Item) ([]Item, bool)) (int, error) {
	batches := 0
	return s.Session.RewriteItems(ctx, max(first, 500), func(stored []Item) ([]Item, bool) {
		if batches++; batches > 1 {
			fmt.Println(batches)
			time.Sleep(20 * time.Millisecond)
		}
		return edit(stored)
	})
}
