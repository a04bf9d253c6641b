package redisstore

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestWindowCosts counts the messages and bytes that GetItems sends and
// receives. With a limit of 50 they are the same for 100,000 items as for 100.
func TestWindowCosts(t *testing.T) {
	direct := newFixture(t, onServer)
	item := func(n int) Item { return Item(fmt.Sprintf(`{"n":"%06d","content":"%s"}`, n, strings.Repeat("x", 100))) }
	for length, id := range map[int]string{100: "short", 100_000: "long!"} {
		items := make([]Item, length)
		for i := range items {
			items[i] = item(i)
		}
		add(t, direct.Session(id), items...)
	}

	options := *direct.client.(*redis.Client).Options()
	var sent, received atomic.Int64
	options.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, network, addr)
		return counted{conn, &sent, &received}, err
	}
	client := redis.NewClient(&options)
	defer client.Close()
	store, err := New(client, WithPrefix(direct.prefix))
	require.NoError(t, err)
	measure := func(id string, do func(s *Session)) [3]int64 {
		do(store.Session("warm up")) // makes a connection
		trips := &recorder{}
		client.AddHook(trips)
		sent.Store(0)
		received.Store(0)
		do(store.Session(id))
		return [3]int64{int64(len(trips.trips)), sent.Load(), received.Load()}
	}
	for _, limit := range []int{1, 50} {
		get := func(s *Session) {
			_, err := s.GetItems(t.Context(), limit)
			require.NoError(t, err)
		}
		require.Equal(t, measure("short", get), measure("long!", get), "limit %d", limit)
		require.Less(t, measure("long!", get)[2], int64(200*limit+200))
	}
	pop := func(s *Session) {
		_, err := s.PopItem(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, measure("short", pop), measure("long!", pop))
}

// counted is a connection that counts the bytes that it carries.
type counted struct {
	net.Conn
	sent, received *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}
