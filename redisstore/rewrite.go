package redisstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// maxBatch is the most items that a batch of RewriteItems has. The script holds
// the limit in bytes.
const maxBatch = 1000

// RewriteItems hands the stored items to edit in batches, newest first, and
// then changes each batch as edit says. If new is nil, the batch stays as it
// is. Otherwise new[i] replaces stored[i] in its place, and a nil new[i]
// removes it. RewriteItems returns the number of items that it has changed. It
// follows the rules of [encsession.Rewriter]. It changes neither updated_at nor
// the expiry of the session.
//
// Each batch is one script. A Redis list has no row IDs, so RewriteItems knows
// an item by its index and its bytes. If other clients have removed elements
// below, the nearest equal element below counts as the item. If they have
// removed a whole batch and everything around it, edit may see items that were
// added meanwhile. It misses none.
//
// Elements that are not JSON are not items and stay where they are.
func (s *Session) RewriteItems(ctx context.Context, first int, edit func(stored []Item) (new []Item, more bool)) (int, error) {
	changed, err := s.rewriteItems(ctx, first, edit)
	if err != nil {
		return changed, fmt.Errorf("redisstore: RewriteItems: %w", err)
	}
	return changed, nil
}

func (s *Session) rewriteItems(ctx context.Context, first int, edit func(stored []Item) (new []Item, more bool)) (changed int, err error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	if edit == nil {
		return 0, errors.New("edit is nil")
	}
	limit := min(max(first, 1), maxBatch) // the most items in a batch
	w := &window{}
	for size := limit; ; size = min(2*size, maxBatch) {
		n, next, err := s.rewrite(ctx, w, size)
		if err != nil {
			return changed, err
		}
		changed += n
		if next.page == 0 {
			return changed, nil
		}
		w = next
		if err := s.check(ctx); err != nil {
			return changed, err
		}
		stored := w.take(limit)
		if len(stored) == 0 {
			continue // the page has no items
		}
		limit = maxBatch
		new, more := edit(stored)
		if err := w.set(new); err != nil {
			return changed, err
		}
		if err := s.check(ctx); err != nil {
			return changed, err
		}
		if !more {
			n, _, err := s.rewrite(ctx, w, 0)
			return changed + n, err
		}
	}
}

// window is a run of the list, newest first: some elements above a page, the
// page, and some below it. Other clients may remove the whole page. Then the
// elements around it show where it was.
type window struct {
	top         int64 // the index of the newest element
	above, page int   // how many elements lie above the page and in the page
	elements    []string
	items       []int    // the places in elements of the items of the batch
	new         [][]byte // nil: it stays; empty: it is removed
	changes     int      // how many of new are not nil
}

// take makes a batch of the newest items of the page, at most limit, and
// returns them. If the batch is full, the page ends with it.
func (w *window) take(limit int) (stored []Item) {
	for i := w.above; i < w.above+w.page; i++ {
		if item := Item(w.elements[i]); isJSON(item) {
			w.items = append(w.items, i)
			stored = append(stored, item)
		}
		if len(stored) == limit {
			w.page = i + 1 - w.above
		}
	}
	return stored
}

// set checks the items that edit returned for the batch, and notes the changes.
func (w *window) set(new []Item) error {
	if new == nil {
		return nil
	}
	if len(new) != len(w.items) {
		return fmt.Errorf("edit returned %d items for a batch of %d", len(new), len(w.items))
	}
	w.new = make([][]byte, len(w.elements))
	for i, item := range new {
		at := w.items[i]
		switch {
		case item == nil:
			w.new[at] = []byte{}
		case bytes.Equal(item, []byte(w.elements[at])):
			continue
		case !isJSON(item):
			return fmt.Errorf("edit: item %d of a batch: %w", i, errNotJSON)
		default:
			w.new[at] = item
		}
		w.changes++
	}
	return nil
}

// rewrite changes the elements of a window. It returns the next window, whose
// page has at most size elements. The page is empty at the end of the list.
func (s *Session) rewrite(ctx context.Context, w *window, size int) (changed int, next *window, err error) {
	call := s.callToRead
	if w.changes > 0 {
		call = s.call
	} else if size == 0 {
		return 0, &window{}, nil
	}
	removal := []byte("\xff removed " + rand.Text()) // not JSON, and no other client has stored it
	args := []any{removal, w.top, w.above + w.page, size}
	for i, element := range w.elements {
		switch {
		case w.changes == 0 || w.new[i] == nil:
			args = append(args, element, "")
		case len(w.new[i]) == 0:
			args = append(args, element, removal)
		default:
			args = append(args, element, w.new[i])
		}
	}
	reply, err := call(ctx, rewriteScript, args...)
	if err != nil {
		return 0, nil, err
	}
	return w.parse(reply, size)
}

// parse reads the reply of the script to a window. It insists that the next
// page lies below the page of the window. So a pass ends, whatever the server
// answers.
func (w *window) parse(reply any, size int) (changed int, next *window, err error) {
	fields, _ := reply.([]any)
	if len(fields) != 5 {
		return 0, nil, errReply
	}
	var numbers [4]int64
	for i := range numbers {
		n, ok := fields[i].(int64)
		if !ok || n < 0 {
			return 0, nil, errReply
		}
		numbers[i] = n
	}
	elements, ok := fields[4].([]any)
	n, top, above, page := numbers[0], numbers[1], numbers[2], numbers[3]
	if !ok || n > int64(w.changes) || above > int64(len(elements)) || page > min(int64(len(elements))-above, int64(size)) {
		return 0, nil, errReply
	}
	pageTop, oldest := top-above, w.top-int64(w.above+w.page)+1
	if page > 0 && (pageTop < page-1 || len(w.elements) > 0 && pageTop >= oldest) {
		return 0, nil, errReply
	}
	next = &window{top: top, above: int(above), page: int(page)}
	for _, element := range elements {
		text, ok := element.(string)
		if !ok {
			return 0, nil, errReply
		}
		next.elements = append(next.elements, text)
	}
	return int(n), next, nil
}
