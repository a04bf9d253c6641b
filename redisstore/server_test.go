package redisstore

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// server is a redis-server of a single test, which may kill and restart it. It
// listens on a Unix socket.
type server struct {
	socket string
	args   []string
	cmd    *exec.Cmd // nil while it does not run
}

// startServer starts a server. It keeps nothing on disk unless the arguments
// say so.
func startServer(t *testing.T, args ...string) *server {
	if _, err := exec.LookPath("redis-server"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("install redis-server to run this test")
	}
	dir, err := os.MkdirTemp("", "redis") // the path of a socket must be short
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	s := &server{socket: filepath.Join(dir, "socket")}
	s.args = append([]string{"--port", "0", "--unixsocket", s.socket, "--dir", dir, "--save", ""}, args...)
	s.start(t)
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill(t)
		}
	})
	return s
}

// start starts the server and waits until it has loaded its data from disk.
func (s *server) start(t *testing.T) {
	s.cmd = exec.Command("redis-server", s.args...)
	require.NoError(t, s.cmd.Start())
	require.Eventually(t, func() bool { _, err := os.Stat(s.socket); return err == nil },
		20*time.Second, time.Millisecond, "the server does not listen") // before go-redis logs that it cannot connect
	probe := s.newClient(t, nil)
	require.Eventually(t, func() bool { return probe.Ping(context.Background()).Err() == nil },
		20*time.Second, 5*time.Millisecond, "the server does not answer")
}

// startSentinel starts a Sentinel, which writes to its configuration file.
func startSentinel(t *testing.T, config string) {
	cmd := exec.Command("redis-server", config, "--sentinel")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// kill ends the server at once, without a shutdown.
func (s *server) kill(t *testing.T) {
	require.NoError(t, s.cmd.Process.Kill())
	_ = s.cmd.Wait() // the error says that it was killed
	s.cmd = nil
}

// newClient returns a client whose attempts to connect fail quickly. configure
// may be nil.
func (s *server) newClient(t *testing.T, configure func(*redis.Options)) *redis.Client {
	options := &redis.Options{Network: "unix", Addr: s.socket, DialerRetries: 1}
	if configure != nil {
		configure(options)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// newStore returns a store on a client of newClient.
func (s *server) newStore(t *testing.T, configure func(*redis.Options), opts ...Option) *Store {
	store, err := New(s.newClient(t, configure), opts...)
	require.NoError(t, err)
	return store
}

// freePort returns a port of the loopback interface that nobody listens on.
func freePort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}
