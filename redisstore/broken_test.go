package redisstore

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// brokenServer returns a client of a server that gives the same reply to every
// command.
func brokenServer(t *testing.T, reply string) *redis.Client {
	client := redis.NewClient(&redis.Options{
		MaxRetries: -1, DialerRetries: 1, Protocol: 2, DisableIdentity: true, ReadTimeout: time.Second,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go serveSame(theirs, reply)
			return ours, nil
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// serveSame reads commands and gives each the same reply.
func serveSame(conn net.Conn, reply string) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	number := func(mark string) (n int, err error) {
		line, err := reader.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, mark)))
	}
	for {
		args, err := number("*")
		if err != nil {
			return
		}
		name := ""
		for i := range args {
			size, err := number("$")
			if err != nil {
				return
			}
			arg := make([]byte, size+2)
			if _, err := io.ReadFull(reader, arg); err != nil {
				return
			}
			if i == 0 {
				name = strings.ToLower(strings.TrimSpace(string(arg)))
			}
		}
		answer := reply
		if name == "hello" || name == "client" {
			answer = "-ERR unknown command\r\n"
		}
		go func() { _, _ = io.WriteString(conn, answer) }() // a pipeline is read once it has been sent
	}
}

// TestServerThatAlwaysSaysTheSame: every method comes to an end without a
// panic. It returns an error unless the reply is one that a server may give.
// GetItems and Sessions need two kinds of reply, so no reply is right for both.
func TestServerThatAlwaysSaysTheSame(t *testing.T) {
	t.Parallel()
	bulk := func(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
	array := func(elements ...string) string {
		return fmt.Sprintf("*%d\r\n%s", len(elements), strings.Join(elements, ""))
	}
	key := naming{prefix: "agents:session"}.keys("s").hash
	ok := "+OK\r\n"
	for _, reply := range []string{
		ok, ":0\r\n", ":1\r\n", ":7\r\n", "$-1\r\n", "*-1\r\n", bulk(""), bulk("{}"), bulk("7"),
		array(), array(":1\r\n"), array("$-1\r\n"), array(bulk("s")), array(bulk("{}")), array(array()),
		array(bulk("{}"), bulk("{}")), array(bulk("s"), ":1\r\n", ":1\r\n"), array(bulk("s"), bulk("1"), array()),
		array(bulk("7"), array()), array(bulk("7"), array(bulk(key))), array(bulk("0"), array(bulk(key))),
		array(bulk("7"), array(":1\r\n")), array(bulk("x"), array()), array(":7\r\n", array()),
		array(":0\r\n", ":0\r\n", ":0\r\n", ":1\r\n", array(bulk("{}"))),
		array(":0\r\n", ":5\r\n", ":0\r\n", ":1\r\n", array(bulk("{}"))),
		array(":0\r\n", ":0\r\n", ":0\r\n", ":0\r\n", array()),
		"-ERR no\r\n", "-\r\n", "?\r\n", "\r\n",
	} {
		store, err := New(brokenServer(t, reply))
		require.NoError(t, err)
		for method, do := range methods {
			err := do(t.Context(), store.Session("s"))
			switch {
			case method == "AddItems" && reply == ok:
			case method == "ClearSession" && (reply == ":0\r\n" || reply == ":1\r\n"):
			case method == "PopItem" && (reply == array() || reply == array(bulk("s"))): // no item in the list
			case method == "RewriteItems" && reply == array(":0\r\n", ":0\r\n", ":0\r\n", ":0\r\n", array()):
			case method == "GetItems" && reply == array(bulk("s")): // HMGET names the session, and the other elements are not JSON
			case method == "GetItems" && reply == array("$-1\r\n"):
			default:
				require.ErrorContains(t, err, "redisstore: "+method+": ", "%q", reply)
				continue
			}
			require.NoError(t, err, "%s after %q", method, reply)
		}
		seen := 0
		for info, err := range store.Sessions(t.Context()) {
			seen++
			require.ErrorContains(t, err, "redisstore: Sessions: ", "%q", reply)
			require.Zero(t, info)
		}
		require.Equal(t, 1, seen, "%q", reply)
	}
}
