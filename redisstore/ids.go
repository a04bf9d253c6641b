package redisstore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/redis/go-redis/v9"
)

// keysPerScan is how many keys the server looks at for one page, and so how long it keeps other clients waiting.
const keysPerScan = 1000

// SessionIDs goes through the IDs of all sessions, each once, in no order, also of those whose items have all been
// popped. It asks the server for a page at a time, on a cluster each master in turn, and holds nothing there between
// two pages; the loop's body may use the store. Of sessions that are created or cleared meanwhile it gives some and
// not others. It looks at every key of the database, and remembers the IDs it has given, as Redis may find a key
// twice: that takes some 100 bytes for each session. An error comes with an empty ID and ends the loop.
//
// A session is a hash under the prefix that holds the ID of its key. What lies there otherwise, and sessions of Python
// with an ID that the Session methods refuse, is left out. So is a list whose hash is gone, evicted or deleted by hand,
// although Session still reads it: before a key is retired for good, look for such lists, or it is lost with the key.
func (s *Store) SessionIDs(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		seen := make(map[string]bool)
		for id, err := range s.sessions(ctx) {
			if err != nil {
				yield("", fmt.Errorf("redisstore: SessionIDs: %w", err))
				return
			}
			if seen[id] {
				continue
			}
			seen[id] = true
			if !yield(id, nil) {
				return
			}
		}
	}
}

// sessions gives IDs, some of them more than once.
func (s *Store) sessions(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := s.check(ctx); err != nil {
			yield("", err)
			return
		}
		nodes, err := s.nodes(ctx)
		if err != nil {
			yield("", readError(ctx, err))
			return
		}
		for _, node := range nodes {
			for cursor, more := uint64(0), true; more; more = cursor != 0 {
				var page []string
				page, cursor, err = s.page(ctx, node, cursor)
				if err != nil {
					yield("", err)
					return
				}
				for _, id := range page {
					if !yield(id, nil) {
						return
					}
				}
			}
		}
	}
}

// page returns the IDs of the sessions that a node has at the cursor, and the cursor of the next page.
func (s *Store) page(ctx context.Context, node redis.Cmdable, cursor uint64) (ids []string, next uint64, err error) {
	if err := s.check(ctx); err != nil {
		return nil, 0, err
	}
	found, next, err := node.ScanType(ctx, cursor, s.config.pattern(), keysPerScan, "hash").Result()
	if err != nil {
		return nil, 0, readError(ctx, err)
	}
	stored := make(map[string]*redis.StringCmd) // what each hash says that its ID is
	pipeline := s.client.Pipeline()
	for _, key := range found {
		if id, ok := s.config.id(key); ok {
			stored[id] = pipeline.HGet(ctx, key, sessionIDField)
		}
	}
	_, _ = pipeline.Exec(ctx) // every command has its own error
	for id, command := range stored {
		switch err := command.Err(); {
		case errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "WRONGTYPE"): // no session, or none any more
		case err != nil:
			return nil, 0, readError(ctx, err)
		case command.Val() == id:
			ids = append(ids, id)
		}
	}
	return ids, next, nil
}
