package redisstore

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// lostReplies has an entry for each method that changes something: a call whose
// reply is lost once, and the items that it leaves.
var lostReplies = map[string]struct {
	do   func(ctx context.Context, s *Session) error
	want []Item
}{
	"AddItems": {
		func(ctx context.Context, s *Session) error { return s.AddItems(ctx, numbered(4, 5)...) },
		append(numbered(1, 1), append(numbered(1, 3), numbered(4, 5)...)...),
	},
	"PopItem": {
		func(ctx context.Context, s *Session) error { _, err := s.PopItem(ctx); return err },
		append(numbered(1, 1), numbered(1, 2)...),
	},
	"RewriteItems": {
		func(ctx context.Context, s *Session) error {
			_, err := s.RewriteItems(ctx, 3, func([]Item) ([]Item, bool) { return []Item{nil, numbered(9, 9)[0], nil}, true })
			return err
		},
		append(numbered(1, 1), numbered(9, 9)...),
	},
	"ClearSession": {func(ctx context.Context, s *Session) error { return s.ClearSession(ctx) }, nil},
}

// TestLostReplyIsNotRetried loses the reply of each method, whatever the
// client's MaxRetries says. The change happens once. The error says that the
// method does not know whether it happened.
func TestLostReplyIsNotRetried(t *testing.T) {
	for _, f := range []fault{lost, delayed} {
		for method, test := range lostReplies {
			t.Run(string(f)+"/"+method, func(t *testing.T) {
				t.Parallel()
				p, store, direct := behindProxy(t, func(o *redis.Options) {
					o.MaxRetries = 5
					o.ReadTimeout = 300 * time.Millisecond
				})
				add(t, direct.Session("s"), append(numbered(1, 1), numbered(1, 3)...)...)
				if method == "PopItem" || method == "RewriteItems" {
					// The first call only looks. The hook loses the reply of
					// the second.
					evals := 0
					store.client.AddHook(beforeCommand(func(cmd redis.Cmder) {
						if evals++; evals == 2 {
							p.next.Store(f)
						}
					}))
				} else {
					p.next.Store(f)
				}
				err := test.do(t.Context(), store.Session("s"))
				require.ErrorContains(t, err, "redisstore: "+method+": no reply came, so the server may or may not have made the change")
				if f == lost {
					require.ErrorIs(t, err, io.EOF)
				} else {
					var timeout net.Error
					require.ErrorAs(t, err, &timeout)
					require.True(t, timeout.Timeout())
				}
				requireItems(t, direct.Session("s"), test.want...)
				// The store can be used again.
				add(t, store.Session("other"), numbered(1, 1)...)
				requireItems(t, store.Session("other"), numbered(1, 1)...)
			})
		}
	}
}

// TestProxyMakesBareClientRetry shows that the test above would find a retry:
// go-redis by itself doubles a push.
func TestProxyMakesBareClientRetry(t *testing.T) {
	t.Parallel()
	p, store, direct := behindProxy(t, nil)
	p.next.Store(lost)
	require.NoError(t, store.client.RPush(t.Context(), direct.config.keys("s").messages, "{}").Err())
	requireItems(t, direct.Session("s"), Item("{}"), Item("{}"))
}

// TestReadsAreRetried: go-redis may repeat a read as often as the client's
// configuration says.
func TestReadsAreRetried(t *testing.T) {
	t.Parallel()
	p, store, direct := behindProxy(t, nil)
	add(t, direct.Session("s"), numbered(1, 3)...)
	p.next.Store(lost)
	requireItems(t, store.Session("s"), numbered(1, 3)...)

	p.next.Store(lost)
	seen := 0
	_, err := store.Session("s").RewriteItems(t.Context(), 1, func(stored []Item) ([]Item, bool) {
		seen += len(stored)
		p.next.Store(lost) // edit changes nothing, so the next call only reads
		return nil, seen < 3
	})
	require.NoError(t, err)
	require.Equal(t, 3, seen)
}

// TestGarbledReplyIsNotQuoted: a reply that cannot be parsed may contain items.
func TestGarbledReplyIsNotQuoted(t *testing.T) {
	do := map[string]func(ctx context.Context, s *Session) error{
		"GetItems": func(ctx context.Context, s *Session) error { _, err := s.GetItems(ctx, 0); return err },
		"PopItem":  func(ctx context.Context, s *Session) error { _, err := s.PopItem(ctx); return err },
		"AddItems": func(ctx context.Context, s *Session) error { return s.AddItems(ctx, Item(`"secret"`)) },
	}
	for method, do := range do {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			p, store, direct := behindProxy(t, func(o *redis.Options) { o.MaxRetries = -1 })
			add(t, direct.Session("s"), Item(`"secret"`))
			p.next.Store(garbled)
			err := do(t.Context(), store.Session("s"))
			require.ErrorContains(t, err, "redisstore: "+method+": ")
			require.ErrorContains(t, err, "the reply is not valid in the protocol of Redis")
			require.NotContains(t, err.Error(), "garbled")
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

// TestDeadlineWhileWaiting: with ContextTimeoutEnabled go-redis stops waiting
// when the context is done.
func TestDeadlineWhileWaiting(t *testing.T) {
	t.Parallel()
	p, store, _ := behindProxy(t, func(o *redis.Options) { o.ContextTimeoutEnabled = true })
	p.next.Store(delayed)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := store.Session("s").AddItems(ctx, numbered(1, 1)...)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestPopLosesNoRace lets another client add and pop between the two calls of
// PopItem.
func TestPopLosesNoRace(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store, other := s.newStore(t, nil), s.newStore(t, nil)
	add(t, other.Session("s"), numbered(1, 3)...)
	evals := 0
	store.client.AddHook(beforeCommand(func(redis.Cmder) {
		switch evals++; evals {
		case 2:
			add(t, other.Session("s"), numbered(4, 4)...)
		case 3:
			for _, want := range []Item{numbered(4, 4)[0], numbered(3, 3)[0]} {
				item, err := other.Session("s").PopItem(context.Background())
				require.NoError(t, err)
				require.Equal(t, string(want), string(item))
			}
		}
	}))
	item, err := store.Session("s").PopItem(t.Context())
	require.NoError(t, err)
	require.Equal(t, string(numbered(2, 2)[0]), string(item))
	require.Equal(t, 4, evals)
	requireItems(t, other.Session("s"), numbered(1, 1)...)
}

// beforeCommand is a hook that is called before each command outside pipelines.
type beforeCommand func(redis.Cmder)

func (f beforeCommand) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f beforeCommand) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		f(cmd)
		return next(ctx, cmd)
	}
}

func (f beforeCommand) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
