package encsession

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

var (
	_ Session  = (*MemorySession)(nil)
	_ Rewriter = (*MemorySession)(nil)
)

// MemorySession is a [Session] in memory, the reference for other stores. It
// keeps items byte for byte as they were added, and it is a [Rewriter]. It is
// safe for concurrent use. The zero value is an empty session whose ID is the
// empty string.
type MemorySession struct {
	id string

	mu   sync.RWMutex
	rows []memoryRow // oldest first
	last uint64      // the highest ID that a row has had
}

// memoryRow is a stored item. IDs rise from the oldest row to the newest. The
// bytes of data never change; a replacement is another slice.
type memoryRow struct {
	id   uint64
	data Item
}

// NewMemorySession returns an empty session. Unlike sessions of a database, two
// MemorySessions are two sessions even if their IDs are equal.
func NewMemorySession(sessionID string) *MemorySession { return &MemorySession{id: sessionID} }

// SessionID returns the ID that NewMemorySession was given.
func (s *MemorySession) SessionID() string { return s.id }

// GetItems implements [Session].
func (s *MemorySession) GetItems(ctx context.Context, limit int) ([]Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, wrap("MemorySession.GetItems", err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	newest := s.rows
	if limit > 0 && limit < len(newest) {
		newest = newest[len(newest)-limit:]
	}
	items := make([]Item, len(newest))
	for i, row := range newest {
		items[i] = bytes.Clone(row.data)
	}
	return items, nil
}

// AddItems implements [Session]. An item that is not a JSON object in valid
// UTF-8 is an [ErrInvalidItem].
func (s *MemorySession) AddItems(ctx context.Context, items ...Item) error {
	if err := ctx.Err(); err != nil {
		return wrap("MemorySession.AddItems", err)
	}
	added := make([]Item, len(items))
	for i, item := range items {
		if !ValidItem(item) {
			return wrap("MemorySession.AddItems", fmt.Errorf("item %d: %w", i, ErrInvalidItem))
		}
		added[i] = bytes.Clone(item)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, item := range added {
		s.last++
		s.rows = append(s.rows, memoryRow{id: s.last, data: item})
	}
	return nil
}

// PopItem implements [Session].
func (s *MemorySession) PopItem(ctx context.Context) (Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, wrap("MemorySession.PopItem", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rows) == 0 {
		return nil, nil
	}
	last := len(s.rows) - 1
	item := bytes.Clone(s.rows[last].data) // a RewriteItems under way may still read the stored bytes
	s.rows = slices.Delete(s.rows, last, last+1)
	return item, nil
}

// ClearSession implements [Session].
func (s *MemorySession) ClearSession(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return wrap("MemorySession.ClearSession", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = nil
	return nil
}

// The limits of a batch of RewriteItems, from the rules of [Rewriter].
const (
	maxBatchItems = 1000
	maxBatchBytes = 1 << 20
)

// RewriteItems implements [Rewriter]. A new item that is not a JSON object in
// valid UTF-8 is an [ErrInvalidItem].
func (s *MemorySession) RewriteItems(ctx context.Context, first int, edit func(stored []Item) (new []Item, more bool)) (int, error) {
	changed, err := s.rewrite(ctx, first, edit)
	return changed, wrap("MemorySession.RewriteItems", err)
}

func (s *MemorySession) rewrite(ctx context.Context, first int, edit func(stored []Item) (new []Item, more bool)) (changed int, err error) {
	if edit == nil {
		return 0, errors.New("edit is nil")
	}
	below := uint64(math.MaxUint64) // the next batch is of rows with lower IDs
	for size := min(max(first, 1), maxBatchItems); ; size = min(2*size, maxBatchItems) {
		if err := ctx.Err(); err != nil {
			return changed, err
		}
		batch := s.batch(below, size)
		if len(batch) == 0 {
			return changed, nil
		}
		below = batch[len(batch)-1].id
		stored := make([]Item, len(batch))
		for i, row := range batch {
			stored[i] = bytes.Clone(row.data)
		}
		new, more := edit(stored)
		if err := checkEdit(len(batch), new); err != nil {
			return changed, err
		}
		if err := ctx.Err(); err != nil {
			return changed, err
		}
		changed += s.swap(batch, new)
		if !more {
			return changed, nil
		}
	}
}

// checkEdit checks the result of edit for a batch of n items.
func checkEdit(n int, new []Item) error {
	if new != nil && len(new) != n {
		return fmt.Errorf("edit returned %d items for a batch of %d", len(new), n)
	}
	for i, item := range new {
		if item != nil && !ValidItem(item) {
			return fmt.Errorf("edit: item %d of a batch: %w", i, ErrInvalidItem)
		}
	}
	return nil
}

// batch returns the newest rows whose IDs are less than below, newest first.
func (s *MemorySession) batch(below uint64, limit int) (batch []memoryRow) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	size := 0
	for at := s.find(below) - 1; at >= 0 && len(batch) < limit && size < maxBatchBytes; at-- {
		batch = append(batch, s.rows[at])
		size += len(s.rows[at].data)
	}
	return batch
}

// find returns the index of the row with this ID, or of the next one.
func (s *MemorySession) find(id uint64) int {
	at, _ := slices.BinarySearchFunc(s.rows, id, func(row memoryRow, id uint64) int { return cmp.Compare(row.id, id) })
	return at
}

// swap replaces the rows of a batch by new items, and returns how many rows it
// has changed. It passes over rows that others have changed since.
func (s *MemorySession) swap(batch []memoryRow, new []Item) (changed int) {
	if new == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, row := range batch {
		at := s.find(row.id)
		if at == len(s.rows) || s.rows[at].id != row.id || !bytes.Equal(s.rows[at].data, row.data) {
			continue // another client was faster
		}
		if new[i] == nil || !bytes.Equal(new[i], row.data) {
			s.rows[at].data = bytes.Clone(new[i]) // if new[i] is nil, so is data, and the row is removed below
			changed++
		}
	}
	oldest := s.find(batch[len(batch)-1].id)
	kept := slices.DeleteFunc(s.rows[oldest:], func(row memoryRow) bool { return row.data == nil })
	s.rows = s.rows[:oldest+len(kept)]
	return changed
}
