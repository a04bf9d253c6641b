package redisstore

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestNewRefuses(t *testing.T) {
	client := unreachable(t)
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer cluster.Close()
	ring := redis.NewRing(&redis.RingOptions{HeartbeatFn: func(context.Context, *redis.Client) bool { return true }})
	defer ring.Close()
	type embedding struct{ *redis.ClusterClient }
	type hiding struct{ redis.UniversalClient }

	for name, test := range map[string]struct {
		client redis.UniversalClient
		opts   []Option
		want   string
	}{
		"nil":                        {nil, nil, "client is nil"},
		"nil client":                 {(*redis.Client)(nil), nil, "client is nil"},
		"nil cluster":                {(*redis.ClusterClient)(nil), []Option{WithHashTag()}, "client is nil"},
		"nil option":                 {client, []Option{WithHashTag(), nil}, "option 1 is nil"},
		"empty prefix":               {client, []Option{WithPrefix("")}, "option 0: the prefix is empty"},
		"no TTL":                     {client, []Option{WithKeyTTL(0)}, "option 0: a key TTL of 0s"},
		"negative TTL":               {client, []Option{WithKeyTTL(-time.Second)}, "option 0: a key TTL of -1s"},
		"TTL below a millisecond":    {client, []Option{WithKeyTTL(time.Microsecond)}, "option 0: a key TTL of 1µs"},
		"TTL between milliseconds":   {client, []Option{WithKeyTTL(1500 * time.Microsecond)}, "option 0: a key TTL of 1.5ms"},
		"braces and tag":             {client, []Option{WithHashTag(), WithPrefix("{p}")}, "the prefix contains braces"},
		"brace and tag":              {client, []Option{WithPrefix("}"), WithHashTag()}, "the prefix contains braces"},
		"cluster without tag":        {cluster, nil, "WithHashTag"},
		"cluster inside without tag": {embedding{cluster}, nil, "WithHashTag"},
		"ring":                       {ring, []Option{WithHashTag()}, "unsupported operation: a Ring"},
		"unknown client":             {hiding{client}, []Option{WithHashTag()}, "unsupported operation: a client of type"},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := New(test.client, test.opts...)
			require.Nil(t, store)
			require.ErrorContains(t, err, "redisstore: New: ")
			require.ErrorContains(t, err, test.want)
		})
	}
	_, err := New(ring, WithHashTag())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = New(hiding{client})
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestNewTakes(t *testing.T) {
	client := unreachable(t)
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer cluster.Close()
	type embedding struct{ *redis.Client }
	for _, test := range []struct {
		client redis.UniversalClient
		opts   []Option
	}{
		{client, nil},
		{client, []Option{WithPrefix("{p}"), WithKeyTTL(time.Millisecond)}},
		{client, []Option{WithHashTag(), WithPrefix("later one counts"), WithPrefix("p:*\xff")}},
		{client, []Option{WithKeyTTL(1<<63 - 1 - (1<<63-1)%time.Millisecond)}}, // the longest
		{embedding{client}, nil},
		{cluster, []Option{WithHashTag()}},
	} {
		_, err := New(test.client, test.opts...)
		require.NoError(t, err)
	}
}

// TestNothingPanics uses Stores and Sessions that New and Store.Session have
// not made, and invalid arguments.
func TestNothingPanics(t *testing.T) {
	var noStore *Store
	var noSession *Session
	for _, s := range []*Session{noSession, {}, noStore.Session("s"), new(Store).Session("s")} {
		for method, do := range methods {
			require.ErrorContains(t, do(t.Context(), s), "redisstore: "+method+": ")
		}
		_ = s.SessionID()
	}
	for _, s := range []*Store{noStore, {}} {
		for info, err := range s.Sessions(t.Context()) {
			require.Zero(t, info)
			require.ErrorContains(t, err, "redisstore: Sessions: this Store was not made by New")
		}
	}
}

// TestRefusedArguments: an item that is not JSON in valid UTF-8 is refused
// before anything is sent, and the error does not quote it.
func TestRefusedArguments(t *testing.T) {
	store, err := New(unreachable(t))
	require.NoError(t, err)
	s := store.Session("s")
	good := Item(`{}`)
	for _, bad := range []Item{nil, {}, Item("secret"), Item(`{"secret":`), Item("\"secret\xff\""), Item(`{} secret`)} {
		err := s.AddItems(t.Context(), good, bad, good)
		require.EqualError(t, err, "redisstore: AddItems: item 1: it is not JSON in valid UTF-8")
	}
	require.NoError(t, s.AddItems(t.Context()))
	err = s.AddItems(t.Context(), slices.Repeat([]Item{good}, maxItems+1)...)
	require.EqualError(t, err, "redisstore: AddItems: 1000001 items at a time are too many: add at most 1000000")
}

// TestContextIsDone: if the context is done, nothing is sent.
func TestContextIsDone(t *testing.T) {
	store, err := New(unreachable(t))
	require.NoError(t, err)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for method, do := range methods {
		err := do(cancelled, store.Session("s"))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "redisstore: "+method+": ")
		require.ErrorIs(t, do(late, store.Session("s")), context.DeadlineExceeded)
	}
	for _, err := range store.Sessions(cancelled) {
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestClosedClient(t *testing.T) {
	client := unreachable(t)
	store, err := New(client)
	require.NoError(t, err)
	require.NoError(t, client.Close())
	for method, do := range methods {
		err := do(t.Context(), store.Session("s"))
		require.ErrorIs(t, err, redis.ErrClosed, method)
		require.NotContains(t, err.Error(), "carried it out")
	}
}
