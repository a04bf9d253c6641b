package encsession

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
)

var (
	_ Session  = (*MemorySession)(nil)
	_ Replacer = (*MemorySession)(nil)
)

// MemorySession is a Session in memory, the reference for other stores. It keeps items byte for byte as they
// were added. It is safe for concurrent use. The zero value is an empty session whose ID is the empty string.
type MemorySession struct {
	id string

	mu    sync.RWMutex
	items []Item // oldest first; the bytes of an item are never changed
}

// NewMemorySession returns an empty session. Unlike a store with a database behind it, each MemorySession is a
// session of its own, even where IDs are equal.
func NewMemorySession(sessionID string) *MemorySession {
	return &MemorySession{id: sessionID}
}

// SessionID returns the ID that NewMemorySession was given.
func (s *MemorySession) SessionID() string { return s.id }

// GetItems implements Session.
func (s *MemorySession) GetItems(ctx context.Context, limit int) ([]Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("encsession: MemorySession.GetItems: %w", err)
	}
	items := s.lend(limit)
	for i, item := range items {
		items[i] = bytes.Clone(item)
	}
	return items, nil
}

// lend returns items as GetItems does, but their bytes are those of the session, which must not be changed.
func (s *MemorySession) lend(limit int) []Item {
	s.mu.RLock()
	defer s.mu.RUnlock()
	newest := s.items
	if limit > 0 && limit < len(newest) {
		newest = newest[len(newest)-limit:]
	}
	return append([]Item{}, newest...)
}

// AddItems implements Session. An item that is not a JSON object in valid UTF-8 is an ErrInvalidItem.
func (s *MemorySession) AddItems(ctx context.Context, items ...Item) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("encsession: MemorySession.AddItems: %w", err)
	}
	added := make([]Item, len(items))
	for i, item := range items {
		if !isObject(item) {
			return fmt.Errorf("encsession: MemorySession.AddItems: item %d: %w", i, ErrInvalidItem)
		}
		added[i] = bytes.Clone(item)
	}
	s.keep(added)
	return nil
}

// keep adds items that are JSON objects and whose bytes nobody will change.
func (s *MemorySession) keep(items []Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, items...)
}

// PopItem implements Session.
func (s *MemorySession) PopItem(ctx context.Context) (Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("encsession: MemorySession.PopItem: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) == 0 {
		return nil, nil
	}
	last := len(s.items) - 1
	item := bytes.Clone(s.items[last]) // a GetItems under way may still be reading the stored bytes
	s.items = slices.Delete(s.items, last, last+1)
	return item, nil
}

// ClearSession implements Session.
func (s *MemorySession) ClearSession(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("encsession: MemorySession.ClearSession: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = nil
	return nil
}

// ReplaceItems implements Replacer. A new item that is not a JSON object in valid UTF-8 is an ErrInvalidItem.
func (s *MemorySession) ReplaceItems(ctx context.Context, old, new []Item) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("encsession: MemorySession.ReplaceItems: %w", err)
	}
	if err := checkReplacement(old, new); err != nil {
		return 0, fmt.Errorf("encsession: MemorySession.ReplaceItems: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := 0
	for i, at := range matchItems(s.items, old) {
		if at >= 0 {
			s.items[at] = bytes.Clone(new[i]) // nil, and so removed below, where new[i] is nil
			changed++
		}
	}
	s.items = slices.DeleteFunc(s.items, func(item Item) bool { return item == nil })
	return changed, nil
}
