package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// GetItems returns the newest limit items, oldest first; all of them where limit is 0 or less. Its cost depends on the
// limit, not on the length of the history. Elements that are not JSON are not items, and do not count.
func (s *Session) GetItems(ctx context.Context, limit int) ([]Item, error) {
	items, err := s.getItems(ctx, limit)
	if err != nil {
		return nil, fmt.Errorf("redisstore: GetItems: %w", err)
	}
	return items, nil
}

func (s *Session) getItems(ctx context.Context, limit int) ([]Item, error) {
	if limit <= 0 {
		limit = math.MaxInt
	}
	// Where elements that are not JSON lie among the newest, it looks again, at twice as many.
	for window := limit; ; window = double(window) {
		if err := s.check(ctx); err != nil {
			return nil, err
		}
		elements, err := s.newest(ctx, window)
		if err != nil {
			return nil, readError(ctx, err)
		}
		items := []Item{}
		for _, element := range slices.Backward(elements) {
			if item := Item(element); len(items) < limit && isJSON(item) {
				items = append(items, item)
			}
		}
		if len(items) == limit || len(elements) < window {
			slices.Reverse(items)
			return items, nil
		}
	}
}

// newest returns the newest elements of the list, oldest first.
func (s *Session) newest(ctx context.Context, window int) ([]string, error) {
	k := s.keys()
	pipeline := s.store.client.Pipeline()
	hash := pipeline.HMGet(ctx, k.hash, sessionIDField)
	elements := pipeline.LRange(ctx, k.messages, int64(-window), -1)
	if _, err := pipeline.Exec(ctx); err != nil {
		return nil, err
	}
	fields, err := textFields(hash.Val(), 1)
	if err != nil {
		return nil, err
	}
	if id := fields[0]; id != nil && *id != s.id {
		return nil, errors.New("the keys belong to a session with another ID, under another prefix")
	}
	if len(elements.Val()) > window {
		return nil, errReply
	}
	return elements.Val(), nil
}

func double(n int) int {
	if n > math.MaxInt/2 {
		return math.MaxInt
	}
	return 2 * n
}
