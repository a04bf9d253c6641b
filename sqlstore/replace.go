package sqlstore

import (
	"bytes"
	"context"
	"fmt"
)

// ReplaceItems replaces items: old[i] becomes new[i] in the same place, and a nil new[i] removes it. Each
// old[i] matches the newest item that has the same bytes and that no earlier pair matched; pairs without a
// match are passed over. It is one transaction, which keeps the row's ID, its time and so its place. It returns
// how many pairs matched.
//
// Slices of unequal length, or a new[i] that is neither nil nor JSON, are an error and change nothing. It reads the
// session from the newest item on until it has found them all.
func (s *Session) ReplaceItems(ctx context.Context, old, new []Item) (int, error) {
	matched, err := s.replaceItems(ctx, old, new)
	if err != nil {
		return 0, fmt.Errorf("sqlstore: ReplaceItems: %w", err)
	}
	return matched, nil
}

func (s *Session) replaceItems(ctx context.Context, old, new []Item) (int, error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	if len(old) != len(new) {
		return 0, fmt.Errorf("%d old items and %d new ones", len(old), len(new))
	}
	for i, item := range new {
		if item != nil && !isJSON(item) {
			return 0, fmt.Errorf("new item %d: %w", i, errNotJSON)
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	matched := 0
	err := s.write(ctx, func(t transaction) error {
		for i, item := range new {
			if err := t.layout.data.check(string(item)); err != nil {
				return fmt.Errorf("new item %d: the database cannot hold it: %w", i, err)
			}
		}
		if err := t.lock(ctx); err != nil {
			return err
		}
		found, err := t.match(ctx, old)
		if err != nil {
			return err
		}
		matched = len(found)
		var changed []row
		var removed []int64
		for i, id := range found {
			if new[i] == nil {
				removed = append(removed, id)
			} else if !bytes.Equal(old[i], new[i]) {
				changed = append(changed, row{id: id, data: new[i]})
			}
		}
		if err := t.update(ctx, changed); err != nil {
			return err
		}
		return t.remove(ctx, removed...)
	})
	return matched, err
}

// match finds the partners of old items by the rule of ReplaceItems: row IDs by the index of the old item.
func (t transaction) match(ctx context.Context, old []Item) (map[int]int64, error) {
	var found map[int]int64
	err := t.widen(ctx, len(old), func() (visit func(row) (more bool)) {
		found = make(map[int]int64)
		wanted := make(map[string][]int, len(old)) // the indexes of the old items that have these bytes
		left := 0
		for i, item := range old {
			if isJSON(item) { // others match nothing
				wanted[string(item)] = append(wanted[string(item)], i)
				left++
			}
		}
		return func(r row) bool {
			if indexes := wanted[string(r.data)]; len(indexes) > 0 {
				found[indexes[0]] = r.id
				wanted[string(r.data)] = indexes[1:]
				left--
			}
			return left > 0
		}
	})
	return found, err
}
