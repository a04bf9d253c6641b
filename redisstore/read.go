package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// GetItems returns the newest limit items, oldest first. If limit is 0 or less,
// it returns all of them. Its cost depends on the limit, not on the length of
// the history. Elements that are not JSON are not items and do not count.
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
	// If elements that are not JSON lie among the newest, it looks again at
	// twice as many.
	for window := limit; ; window = double(window) {
		if err := s.check(ctx); err != nil {
			return nil, err
		}
		elements, err := s.newest(ctx, window)
		if err != nil {
			return nil, readError(ctx, err)
		}
		items := newestItems(elements, limit)
		if len(items) == limit || len(elements) < window {
			return items, nil
		}
	}
}

// blockSize is the number of bytes of items that share a block of memory,
// unless a single item is larger. A block for each item would be slower. One
// block for all items would keep a whole history in memory while the caller
// keeps one item.
const blockSize = 64 << 10

// newestItems returns the newest items among the elements, at most limit of
// them.
func newestItems(elements []string, limit int) []Item {
	left := 0 // bytes
	for _, element := range elements {
		left += len(element)
	}
	items := make([]Item, 0, len(elements))
	var block []byte
	for _, element := range slices.Backward(elements) {
		if len(items) == limit {
			break
		}
		if len(element) > cap(block)-len(block) {
			block = make([]byte, 0, max(len(element), min(left, blockSize)))
		}
		left -= len(element)
		start := len(block)
		block = append(block, element...)
		if item := Item(block[start:len(block):len(block)]); isJSON(item) {
			items = append(items, item)
		} else {
			block = block[:start]
		}
	}
	slices.Reverse(items)
	return items
}

// newest returns the newest elements of the list, at most window of them,
// oldest first.
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
