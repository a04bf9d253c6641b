package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

const (
	singleEnv  = "ENCSESSION_REDIS_ADDR"          // host:port of a server
	clusterEnv = "ENCSESSION_REDIS_CLUSTER_ADDRS" // host:port of nodes of a cluster, with commas between
)

// setup is a server or a cluster, and the way in which a store uses it.
type setup struct {
	name    string
	env     string
	options []Option
}

var (
	onServer  = setup{name: "server", env: singleEnv}
	withTag   = setup{name: "server with hash tags", env: singleEnv, options: []Option{WithHashTag()}}
	onCluster = setup{name: "cluster", env: clusterEnv, options: []Option{WithHashTag()}}
)

// onEach runs a test on each setup.
func onEach(t *testing.T, f func(t *testing.T, s setup)) {
	for _, s := range []setup{onServer, withTag, onCluster} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f(t, s)
		})
	}
}

// newClient returns a client for the servers that the environment names.
func (s setup) newClient(t testing.TB) redis.UniversalClient {
	addrs := os.Getenv(s.env)
	if addrs == "" {
		t.Skipf("set %s to the address of a server to run this test, or source .ci/redis.sh and call start_redis", s.env)
	}
	var client redis.UniversalClient
	if s.env == clusterEnv {
		client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: strings.Split(addrs, ",")})
	} else {
		client = redis.NewClient(&redis.Options{Addr: addrs})
	}
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// fixture is a store with a prefix of its own. Its keys are deleted when the
// test ends.
type fixture struct {
	client redis.UniversalClient
	prefix string
	*Store
}

func newFixture(t testing.TB, s setup, opts ...Option) *fixture {
	return newFixtureOn(t, s.newClient(t), append(s.options[:len(s.options):len(s.options)], opts...)...)
}

func newFixtureOn(t testing.TB, client redis.UniversalClient, opts ...Option) *fixture {
	f := &fixture{client: client, prefix: "test-" + random()}
	var err error
	f.Store, err = New(client, append([]Option{WithPrefix(f.prefix)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { f.deleteAll(t) })
	return f
}

// deleteAll deletes every key that contains the prefix, whoever has set it.
func (f *fixture) deleteAll(t testing.TB) {
	f.eachKey(t, func(pipeline redis.Pipeliner, key string) { pipeline.Unlink(context.Background(), key) })
}

// eachKey lets do queue a command for every key that contains the prefix.
func (f *fixture) eachKey(t testing.TB, do func(pipeline redis.Pipeliner, key string)) {
	nodes, err := f.nodes(context.Background())
	require.NoError(t, err)
	for _, node := range nodes {
		keys := node.Scan(context.Background(), 0, "*"+f.prefix+"*", 10_000).Iterator()
		pipeline := f.client.Pipeline() // a cluster client sends each command to the node of its key
		for keys.Next(context.Background()) {
			do(pipeline, keys.Val())
		}
		require.NoError(t, keys.Err())
		_, err := pipeline.Exec(context.Background())
		require.NoError(t, err)
	}
}

// random returns lower-case letters and digits that no other call has returned.
func random() string { return strings.ToLower(rand.Text()[:16]) }

// numbered returns items with the numbers from first to last.
func numbered(first, last int) []Item {
	items := []Item{}
	for n := first; n <= last; n++ {
		items = append(items, Item(fmt.Sprintf(`{"n":%d}`, n)))
	}
	return items
}

func add(t testing.TB, s encsession.Session, items ...Item) {
	t.Helper()
	require.NoError(t, s.AddItems(context.Background(), items...))
}

// texts makes items readable in the messages of a failed test.
func texts(items []Item) []string {
	texts := []string{}
	for _, item := range items {
		texts = append(texts, string(item))
	}
	return texts
}

func requireItems(t testing.TB, s encsession.Session, want ...Item) {
	t.Helper()
	items, err := s.GetItems(context.Background(), 0)
	require.NoError(t, err)
	require.Equal(t, texts(want), texts(items))
}

func newKey(t testing.TB) encsession.Key {
	key, err := encsession.ParseKey(encsession.GenerateKey())
	require.NoError(t, err)
	return key
}
