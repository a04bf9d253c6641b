package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
)

// ReplaceItems replaces items: old[i] becomes new[i] in the same place, and a nil new[i] removes it. Each old[i]
// matches the newest item that has the same bytes and that no earlier pair matched; pairs without a match are passed
// over. It returns how many pairs matched. It changes neither updated_at nor the expiry of the session.
//
// Slices of unequal length, or a new[i] that is neither nil nor JSON, are an error and change nothing. It is one
// script, which reads the session from the newest item on until it has found them all; the server does nothing else
// meanwhile.
func (s *Session) ReplaceItems(ctx context.Context, old, new []Item) (int, error) {
	matched, err := s.replaceItems(ctx, old, new)
	if err != nil {
		return 0, fmt.Errorf("redisstore: ReplaceItems: %w", err)
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
	removal := []byte("\xff removed " + rand.Text()) // is not JSON, and not what another client has stored
	args := []any{removal}
	for i, item := range new {
		switch {
		case item != nil && !isJSON(item):
			return 0, fmt.Errorf("new item %d: %w", i, errNotJSON)
		case !isJSON(old[i]): // matches nothing, not even an element with the same bytes
		case item == nil:
			args = append(args, []byte(old[i]), removal)
		default:
			args = append(args, []byte(old[i]), []byte(item))
		}
	}
	if len(args) == 1 {
		return 0, nil
	}
	reply, err := s.call(ctx, replaceScript, args...)
	if err != nil {
		return 0, err
	}
	matched, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("the server answers with a %T, not with a number", reply)
	}
	return int(matched), nil
}
