package redisstore

import (
	"context"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// proxy stands between a client and a server. It does something to the next
// reply.
type proxy struct {
	server *server
	next   atomic.Value // of fault
}

// fault is something that happens to one reply.
type fault string

const (
	none    fault = ""
	lost    fault = "lost"    // the connection breaks instead
	delayed fault = "delayed" // it never comes, and the connection stays open
	garbled fault = "garbled" // it is not one of Redis, and quotes the reply
)

// newProxy returns a proxy and a dialer for it.
func newProxy(t *testing.T, s *server) (*proxy, func(ctx context.Context, network, addr string) (net.Conn, error)) {
	p := &proxy{server: s}
	p.next.Store(none)
	path := filepath.Join(filepath.Dir(s.socket), "proxy")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p, func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", path)
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", p.server.socket)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_ = pipe(server, client, func(b []byte) ([]byte, bool) { return b, true })
		_ = server.Close()
	}()
	_ = pipe(client, server, func(reply []byte) ([]byte, bool) {
		// By now the server has carried the command out.
		switch p.next.Swap(none) {
		case lost:
			return nil, false
		case delayed:
			return nil, true
		case garbled:
			return append([]byte("?garbled "), reply...), true
		}
		return reply, true
	})
}

// pipe copies until an error occurs or change says that it is over.
func pipe(to, from net.Conn, change func([]byte) (changed []byte, more bool)) error {
	buffer := make([]byte, 1<<20)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return err
		}
		changed, more := change(buffer[:n])
		if !more {
			return nil
		}
		if _, err := to.Write(changed); err != nil {
			return err
		}
	}
}

// behindProxy returns a proxy in front of a server and two stores. The first
// uses the proxy and has connections ready. The second uses the server
// directly.
func behindProxy(t *testing.T, configure func(*redis.Options)) (p *proxy, store, direct *Store) {
	s := startServer(t)
	p, dial := newProxy(t, s)
	store = s.newStore(t, func(o *redis.Options) {
		o.Dialer = dial
		if configure != nil {
			configure(o)
		}
	})
	require.NoError(t, store.client.Ping(t.Context()).Err())
	pipeline := store.client.Pipeline() // go-redis has other connections for pipelines
	pipeline.Ping(t.Context())
	_, err := pipeline.Exec(t.Context())
	require.NoError(t, err)
	return p, store, s.newStore(t, nil)
}
