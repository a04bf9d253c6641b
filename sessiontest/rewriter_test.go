package sessiontest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/encsession/encsession"
)

// editedBy puts change between the real RewriteItems and edit.
func (s *hooked) editedBy(change func(stored []encsession.Item, edit edit) (new []encsession.Item, more bool)) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		return rewrite(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) { return change(stored, edit) })
	}
}

// removing returns the stored items, with nil in the place of the first one
// that has the bytes of item.
func removing(stored []encsession.Item, item encsession.Item) []encsession.Item {
	new := slices.Clone(stored)
	at := slices.IndexFunc(stored, func(other encsession.Item) bool { return bytes.Equal(other, item) })
	if at >= 0 {
		new[at] = nil
	}
	return new
}

// isChange reports whether the item new differs from the item old.
func isChange(old, new encsession.Item) bool { return new == nil || !bytes.Equal(old, new) }

func isBad(item encsession.Item) bool { return item != nil && !json.Valid(item) }

// pieces is a RewriteItems whose parts broken stores can change. It goes
// through a copy of the session.
type pieces struct {
	s *hooked

	items, bytes int // the limits of a batch other than the first

	// swap changes a batch, and returns the number of items that it has
	// changed. The parameter below is the number of items that lay below the
	// newest item of the batch at the start.
	swap func(ctx context.Context, below int, stored, new []encsession.Item, edit edit) int
}

// inPieces makes RewriteItems go through the session in pieces.
func (s *hooked) inPieces(change func(p *pieces)) {
	p := &pieces{
		s:     s,
		items: maxBatchItems,
		bytes: maxBatchBytes,
		swap: func(ctx context.Context, below int, stored, new []encsession.Item, _ edit) int {
			return s.swapAt(ctx, below, stored, new, near)
		},
	}
	change(p)
	s.rewrite = p.rewrite
}

func (p *pieces) rewrite(ctx context.Context, first int, edit edit) (changed int, err error) {
	left, err := p.s.MemorySession.GetItems(ctx, 0)
	if err != nil {
		return 0, err
	}
	slices.Reverse(left)
	for batch := 0; len(left) > 0; batch++ {
		if ctx.Err() != nil {
			return changed, ctx.Err()
		}
		stored := left[:min(max(first, 1), len(left))]
		if batch > 0 {
			stored = left[:p.size(left)]
		}
		new, more := edit(stored)
		if new != nil && len(new) != len(stored) || slices.ContainsFunc(new, isBad) {
			return changed, encsession.ErrInvalidItem
		}
		if ctx.Err() != nil {
			return changed, ctx.Err()
		}
		if new != nil {
			changed += p.swap(ctx, len(left)-1, stored, new, edit)
		}
		if !more {
			break
		}
		left = left[len(stored):]
	}
	return changed, nil
}

func (p *pieces) size(left []encsession.Item) int {
	most, bytes := min(p.items, len(left)), 0
	for i, item := range left[:most] {
		if bytes += len(item); bytes >= p.bytes {
			return i + 1
		}
	}
	return most
}

// near finds a row again as a store without row IDs may do it: it takes the
// nearest equal item at the row's place or below.
func near(at, was int, item, old []byte) bool { return at <= was && bytes.Equal(item, old) }

// swapAt puts new items in the place of those that match the stored ones, in
// one step. The place of an item is the number of items below it.
func (s *hooked) swapAt(ctx context.Context, below int, stored, new []encsession.Item,
	match func(at, was int, item, old []byte) bool,
) int {
	const batch = 1_000
	left := -1 // the number of items that the pass has not seen yet
	taken := make([]bool, len(stored))
	changed, _ := s.MemorySession.RewriteItems(ctx, batch, func(current []encsession.Item) ([]encsession.Item, bool) {
		if left < 0 {
			left = len(current)
			// There may be more items than these.
			if left == batch || len(slices.Concat(current...)) >= maxBatchBytes {
				items, _ := s.MemorySession.GetItems(ctx, 0)
				left = len(items)
			}
		}
		swapped := slices.Clone(current)
		for i := range current {
			left--
			for j := range stored {
				if !taken[j] && match(left, below-j, current[i], stored[j]) {
					taken[j] = true
					if isChange(stored[j], new[j]) {
						swapped[i] = new[j]
					}
					break
				}
			}
		}
		return swapped, true
	})
	return changed
}

// swapEqual puts new items in the place of the newest items that are equal to
// the stored ones.
func (s *hooked) swapEqual(ctx context.Context, _ int, stored, new []encsession.Item, _ edit) int {
	swaps := map[string][]encsession.Item{}
	for i := range stored {
		if isChange(stored[i], new[i]) {
			swaps[string(stored[i])] = append(swaps[string(stored[i])], new[i])
		}
	}
	changed, _ := s.MemorySession.RewriteItems(ctx, 1_000, editing(func(item encsession.Item) encsession.Item {
		left := swaps[string(item)]
		if len(left) == 0 {
			return item
		}
		swaps[string(item)] = left[1:]
		return left[0]
	}))
	return changed
}

func cannotRewriteAfterEdit(s *hooked) {
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		if items, _ := s.MemorySession.GetItems(ctx, 1); len(items) > 0 {
			edit(items)
		}
		return 0, errors.ErrUnsupported
	}
}

func handsOutOldestFirst(s *hooked) {
	s.editedBy(func(stored []encsession.Item, edit edit) ([]encsession.Item, bool) {
		stored = slices.Clone(stored)
		slices.Reverse(stored)
		new, more := edit(stored)
		new = slices.Clone(new)
		slices.Reverse(new)
		return new, more
	})
}

func handsOutTwice(s *hooked) {
	s.editedBy(func(stored []encsession.Item, edit edit) ([]encsession.Item, bool) {
		edit(stored)
		return edit(stored)
	})
}

func handsOutFour(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		calls := 0
		return rewrite(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
			calls++
			new, more := edit(stored)
			return new, more && calls < 4
		})
	}
}

// handsOutAdded also goes through the items that edit has added, once the rest
// is done.
func handsOutAdded(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		var known [][]byte
		goOn := false
		changed, err := rewrite(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
			for _, item := range stored {
				known = append(known, bytes.Clone(item))
			}
			new, more := edit(stored)
			for _, item := range new {
				known = append(known, bytes.Clone(item))
			}
			goOn = more
			return new, more
		})
		if !goOn || err != nil || len(known) > 1_000 {
			return changed, err
		}
		_, err = rewrite(ctx, 1, func(stored []encsession.Item) ([]encsession.Item, bool) {
			for _, item := range stored {
				if !slices.ContainsFunc(known, func(other []byte) bool { return bytes.Equal(other, item) }) {
					_, more := edit([]encsession.Item{item})
					return nil, more
				}
			}
			return nil, true
		})
		return changed, err
	}
}

func countsFromOldest(s *hooked) {
	s.inPieces(func(p *pieces) {
		p.swap = func(ctx context.Context, below int, stored, new []encsession.Item, _ edit) int {
			return s.swapAt(ctx, below, stored, new, func(at, was int, item, old []byte) bool {
				return at == was && bytes.Equal(item, old)
			})
		}
	})
}

func ignoresFirst(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, _ int, edit edit) (int, error) { return rewrite(ctx, 100, edit) }
}

func wantsFirst(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		if first < 1 {
			return 0, errors.New("no such LIMIT")
		}
		return rewrite(ctx, first, edit)
	}
}

func handsOutThousands(s *hooked) {
	s.inPieces(func(p *pieces) { p.items = 2_000 })
}

func handsOutMegabytes(s *hooked) {
	s.inPieces(func(p *pieces) { p.bytes = 2 * maxBatchBytes })
}

func takesNilForRemoval(s *hooked) {
	s.editedBy(func(stored []encsession.Item, edit edit) ([]encsession.Item, bool) {
		new, more := edit(stored)
		if new == nil {
			new = make([]encsession.Item, len(stored))
		}
		return new, more
	})
}

func countsLeft(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		left := 0
		changed, err := rewrite(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
			new, more := edit(stored)
			for i := range min(len(new), len(stored)) {
				if !isChange(stored[i], new[i]) {
					left++
				}
			}
			return new, more
		})
		return changed + left, err
	}
}

// moves makes RewriteItems put some new items at the end.
func (s *hooked) moves(isMoved func(old encsession.Item) bool) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		var moved []encsession.Item
		changed, err := rewrite(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
			new, more := edit(stored)
			new = slices.Clone(new)
			for i := range min(len(new), len(stored)) {
				if new[i] != nil && json.Valid(new[i]) && isChange(stored[i], new[i]) && isMoved(stored[i]) {
					moved = append(moved, bytes.Clone(new[i]))
					new[i] = nil
				}
			}
			return new, more
		})
		slices.Reverse(moved)
		return changed, errors.Join(err, s.MemorySession.AddItems(ctx, moved...))
	}
}

func movesToEnd(s *hooked) { s.moves(func(encsession.Item) bool { return true }) }

func sortsByChange(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		for _, item := range items {
			s.all.times.Store(string(item), time.Now())
		}
		return add(ctx, items)
	}
	s.moves(func(old encsession.Item) bool {
		added, ok := s.all.times.Load(string(old))
		return ok && time.Since(added.(time.Time)) >= time.Second
	})
}

func neverRemoves(s *hooked) {
	s.editedBy(func(stored []encsession.Item, edit edit) ([]encsession.Item, bool) {
		new, more := edit(stored)
		new = slices.Clone(new)
		for i := range new {
			if new[i] == nil {
				new[i] = encsession.Item(`{"removed":true}`)
			}
		}
		return new, more
	})
}

func changesHalf(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		var refused error
		before := 0
		changed, err := rewrite(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
			new, more := edit(stored)
			if bad := slices.IndexFunc(new, isBad); bad > 0 && len(new) == len(stored) {
				refused = encsession.ErrInvalidItem
				before = bad
				return append(slices.Clone(new[:bad]), stored[bad:]...), false
			}
			return new, more
		})
		return changed - before, errors.Join(err, refused)
	}
}

func takesAnyLength(s *hooked) {
	s.editedBy(func(stored []encsession.Item, edit edit) ([]encsession.Item, bool) {
		new, more := edit(stored)
		if new == nil {
			return nil, more
		}
		n := min(len(new), len(stored))
		return append(slices.Clone(new[:n]), stored[n:]...), more
	})
}

func removesForEmpty(s *hooked) {
	s.editedBy(func(stored []encsession.Item, edit edit) ([]encsession.Item, bool) {
		new, more := edit(stored)
		new = slices.Clone(new)
		for i := range new {
			if len(new[i]) == 0 {
				new[i] = nil
			}
		}
		return new, more
	})
}

func forgetsCount(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		changed, err := rewrite(ctx, first, edit)
		if err != nil {
			changed = 0
		}
		return changed, err
	}
}

func undoesBatches(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		before, _ := s.MemorySession.GetItems(ctx, 0)
		changed, err := rewrite(ctx, first, edit)
		if changed > 0 && err != nil {
			ctx := context.WithoutCancel(ctx)
			return changed, errors.Join(err, s.MemorySession.ClearSession(ctx), s.MemorySession.AddItems(ctx, before...))
		}
		return changed, err
	}
}

func swapsChanged(s *hooked) {
	s.inPieces(func(p *pieces) {
		p.swap = func(ctx context.Context, below int, stored, new []encsession.Item, _ edit) int {
			return s.swapAt(ctx, below, stored, new, func(at, was int, _, _ []byte) bool { return at == was })
		}
	})
}

func countsPassedOver(s *hooked) {
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		intended := 0
		changed, err := s.MemorySession.RewriteItems(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
			new, more := edit(stored)
			for i := range min(len(new), len(stored)) {
				if isChange(stored[i], new[i]) {
					intended++
				}
			}
			return new, more
		})
		if err == nil {
			changed = intended
		}
		return changed, err
	}
}

func matchesContent(s *hooked) {
	s.inPieces(func(p *pieces) { p.swap = s.swapEqual })
}

func comparesByCollation(s *hooked) {
	s.inPieces(func(p *pieces) {
		p.swap = func(ctx context.Context, below int, stored, new []encsession.Item, _ edit) int {
			return s.swapAt(ctx, below, stored, new, func(at, was int, item, old []byte) bool {
				return at <= was && strings.EqualFold(string(item), string(old))
			})
		}
	})
}

func changesOneByOne(s *hooked) {
	s.inPieces(func(p *pieces) {
		p.swap = func(ctx context.Context, below int, stored, new []encsession.Item, _ edit) (changed int) {
			if len(stored) > 100 { // that would take too long
				return s.swapAt(ctx, below, stored, new, near)
			}
			removed := 0
			// It begins with the oldest item. If that is removed, the others
			// move down.
			for i := len(stored) - 1; i >= 0; i-- {
				changed += s.swapAt(ctx, below-i-removed, stored[i:i+1], new[i:i+1], near)
				if new[i] == nil {
					removed++
				}
				overtaken()
			}
			return changed
		}
	})
}

func holdsLock(s *hooked) { s.locked(true) }

// locked has all methods hold one lock, and RewriteItems too if it is told to.
func (s *hooked) locked(rewriteToo bool) {
	hooks := *s
	lock := func(ctx context.Context) error {
		for !s.all.turn.TryLock() {
			overtaken()
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	}
	s.get = func(ctx context.Context, limit int) ([]encsession.Item, error) {
		if err := lock(ctx); err != nil {
			return nil, err
		}
		defer s.all.turn.Unlock()
		return hooks.get(ctx, limit)
	}
	s.add = func(ctx context.Context, items []encsession.Item) error {
		if err := lock(ctx); err != nil {
			return err
		}
		defer s.all.turn.Unlock()
		return hooks.add(ctx, items)
	}
	s.pop = func(ctx context.Context) (encsession.Item, error) {
		if err := lock(ctx); err != nil {
			return nil, err
		}
		defer s.all.turn.Unlock()
		return hooks.pop(ctx)
	}
	s.clear = func(ctx context.Context) error {
		if err := lock(ctx); err != nil {
			return err
		}
		defer s.all.turn.Unlock()
		return hooks.clear(ctx)
	}
	if !rewriteToo {
		return
	}
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		if err := lock(ctx); err != nil {
			return 0, err
		}
		defer s.all.turn.Unlock()
		return hooks.rewrite(ctx, first, edit)
	}
}

func runsEditElsewhere(s *hooked) {
	s.editedBy(func(stored []encsession.Item, edit edit) (new []encsession.Item, more bool) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			new, more = edit(stored)
		}()
		<-done
		return new, more
	})
}

func callsEditAgain(s *hooked) {
	s.inPieces(func(p *pieces) {
		p.swap = func(ctx context.Context, below int, stored, new []encsession.Item, edit edit) int {
			intended := 0
			for i := range stored {
				if isChange(stored[i], new[i]) {
					intended++
				}
			}
			changed := s.swapAt(ctx, below, stored, new, near)
			if changed < intended {
				edit(stored)
			}
			return changed
		}
	})
}

func doesNotEnd(s *hooked) {
	s.editedBy(func(stored []encsession.Item, edit edit) ([]encsession.Item, bool) {
		new, _ := edit(stored)
		return new, true
	})
}

func forgetsLastBatch(s *hooked) {
	s.editedBy(func(stored []encsession.Item, edit edit) ([]encsession.Item, bool) {
		new, more := edit(stored)
		if !more {
			new = nil
		}
		return new, more
	})
}

func goesOn(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return rewrite(context.WithoutCancel(ctx), first, edit)
	}
}

func changesCancelled(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		changed, err := rewrite(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
			new, more := edit(stored)
			if ctx.Err() != nil {
				s.swapEqual(context.WithoutCancel(ctx), 0, stored, new, edit)
			}
			return new, more
		})
		return changed, err
	}
}

func callsEditWithNothing(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		if items, err := s.MemorySession.GetItems(ctx, 1); len(items) == 0 && err == nil {
			edit(nil)
		}
		return rewrite(ctx, first, edit)
	}
}

func keepsNewItems(s *hooked) {
	var input aliases
	get := s.get
	s.editedBy(func(stored []encsession.Item, edit edit) ([]encsession.Item, bool) {
		new, more := edit(stored)
		input.keep(new)
		return new, more
	})
	s.get = func(ctx context.Context, limit int) ([]encsession.Item, error) {
		if err := input.spoil(ctx, s.MemorySession); err != nil {
			return nil, err
		}
		return get(ctx, limit)
	}
}

func rewritesEverywhere(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		swaps := map[string]encsession.Item{}
		changed, err := rewrite(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
			new, more := edit(stored)
			for i := range min(len(new), len(stored)) {
				swaps[string(stored[i])] = bytes.Clone(new[i])
			}
			return new, more
		})
		if err != nil {
			return changed, err
		}
		return changed, s.all.each(func(_ string, other *encsession.MemorySession) error {
			if other == s.MemorySession {
				return nil
			}
			_, err := other.RewriteItems(ctx, 1, editing(func(item encsession.Item) encsession.Item {
				if new, ok := swaps[string(item)]; ok {
					return new
				}
				return item
			}))
			return err
		})
	}
}

func cannotRewriteUnderLoad(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		if !s.all.turn.TryLock() {
			return 0, errors.New("could not serialize access")
		}
		overtaken()
		s.all.turn.Unlock()
		return rewrite(ctx, first, edit)
	}
}

// rewritesInCopy writes back all items that are there at the end. Only one call
// does so at a time.
func rewritesInCopy(s *hooked) {
	rewrite := s.rewrite
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		changed, err := rewrite(ctx, first, edit)
		if changed == 0 || err != nil {
			return changed, err
		}
		defer s.all.inTurn()()
		items, err := s.MemorySession.GetItems(ctx, 0)
		overtaken()
		return changed, errors.Join(err, s.MemorySession.ClearSession(ctx), s.MemorySession.AddItems(ctx, items...))
	}
}
