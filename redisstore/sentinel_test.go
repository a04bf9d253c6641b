package redisstore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestSentinelFailsOver kills the master of a Sentinel in the middle of adds.
// The store adds again once the replica is the new master. Batches are whole or
// absent, in their order, and none is there twice. An acknowledged batch is
// lost only if the replica had not received it. So lost batches were the last
// ones of the old master.
func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	masterPort, replicaPort, sentinelPort := freePort(t), freePort(t), freePort(t)
	master := startServer(t, "--port", masterPort, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
	replica := startServer(t, "--port", replicaPort, "--bind", "127.0.0.1", "--replicaof", "127.0.0.1 "+masterPort)
	replicated := replica.newClient(t, nil)
	require.Eventually(t, func() bool {
		return strings.Contains(replicated.Info(t.Context(), "replication").Val(), "master_link_status:up")
	}, 20*time.Second, 10*time.Millisecond, "the replica does not find the master")
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	require.NoError(t, os.WriteFile(config, []byte(fmt.Sprintf(
		"port %s\nbind 127.0.0.1\nsentinel monitor agents 127.0.0.1 %s 1\nsentinel down-after-milliseconds agents 500\n"+
			"sentinel failover-timeout agents 5000\n", sentinelPort, masterPort)), 0o600))
	startSentinel(t, config)
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: "127.0.0.1:" + sentinelPort})
	t.Cleanup(func() { _ = sentinel.Close() })
	require.Eventually(t, func() bool {
		replicas, err := sentinel.Replicas(t.Context(), "agents").Result()
		return err == nil && len(replicas) == 1
	}, 30*time.Second, 20*time.Millisecond, "the Sentinel does not find the replica")

	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "agents", SentinelAddrs: []string{"127.0.0.1:" + sentinelPort}, DialerRetries: 1, PoolSize: 1000,
	})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	store, err := New(client)
	require.NoError(t, err)

	const adders, size, wanted = 3, 3, 20
	batch := func(adder, n int) (items []Item) {
		for i := range size {
			items = append(items, Item(fmt.Sprintf(`{"adder":%d,"batch":%d,"i":%d}`, adder, n, i)))
		}
		return items
	}
	before, after := make([][]int, adders), make([][]int, adders) // the batches acknowledged before the first error, and after it
	failed := make([]bool, adders)
	ready := make(chan struct{}, adders)
	var workers sync.WaitGroup
	for adder := range adders {
		workers.Go(func() {
			deadline := time.Now().Add(60 * time.Second)
			for n := 0; len(after[adder]) < wanted && time.Now().Before(deadline); n++ {
				err := store.Session("s").AddItems(context.Background(), batch(adder, n)...)
				switch {
				case err != nil:
					failed[adder] = true
					time.Sleep(100 * time.Millisecond)
				case !failed[adder]:
					if before[adder] = append(before[adder], n); len(before[adder]) == wanted {
						ready <- struct{}{}
					}
				default:
					after[adder] = append(after[adder], n)
				}
			}
		})
	}
	for range adders {
		<-ready
	}
	master.kill(t)
	workers.Wait()

	role, err := replicated.Do(t.Context(), "role").Slice()
	require.NoError(t, err)
	require.Equal(t, "master", role[0])
	items, err := store.Session("s").GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.Zero(t, len(items)%size)
	stored, newest := make([]map[int]bool, adders), make([]int, adders)
	for adder := range adders {
		stored[adder], newest[adder] = map[int]bool{}, -1
	}
	for i := 0; i < len(items); i += size {
		var adder, n, first int
		_, err := fmt.Sscanf(string(items[i]), `{"adder":%d,"batch":%d,"i":%d}`, &adder, &n, &first)
		require.NoError(t, err)
		require.Equal(t, texts(batch(adder, n)), texts(items[i:i+size]), "a batch is there in part, or torn apart")
		require.Greater(t, n, newest[adder], "a batch is there twice, or before one that was added earlier")
		newest[adder], stored[adder][n] = n, true
	}
	lost := 0
	for adder := range adders {
		require.Len(t, after[adder], wanted, "the store does not come back")
		for _, n := range after[adder] {
			require.True(t, stored[adder][n], "a batch that the new master has acknowledged is lost")
		}
		for _, n := range before[adder] {
			if !stored[adder][n] {
				lost++
			} else {
				require.Zero(t, lost, "a batch is lost, and a later one is not")
			}
		}
		t.Logf("of %d batches acknowledged before the kill %d are lost", len(before[adder]), lost)
		lost = 0
	}
}
