package redisstore

import (
	"context"
	"reflect"
	"sync"

	"github.com/redis/go-redis/v9"
)

// The kinds of client are told apart by their methods. So a struct that embeds
// a client is of the same kind as that client.
type (
	// clusterClient is a *redis.ClusterClient.
	clusterClient interface {
		ForEachMaster(ctx context.Context, f func(context.Context, *redis.Client) error) error
	}
	// singleClient is a *redis.Client.
	singleClient interface{ Options() *redis.Options }
)

// nodes returns a client for each server that has sessions.
func (s *Store) nodes(ctx context.Context) ([]redis.Cmdable, error) {
	cluster, ok := s.client.(clusterClient)
	if !ok {
		return []redis.Cmdable{s.client}, nil
	}
	var mu sync.Mutex
	var nodes []redis.Cmdable
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, node)
		return nil
	})
	return nodes, err
}

// isNil reports whether a client is nil, or a nil pointer in an interface.
func isNil(client redis.UniversalClient) bool {
	if client == nil {
		return true
	}
	v := reflect.ValueOf(client)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
