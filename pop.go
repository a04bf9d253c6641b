package encsession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"
)

// maxMisses is the number of attempts, in a row, that PopItem makes to remove
// one item. If all fail, it takes the store for broken, or for a replica that
// lags. Between two attempts it waits for maxWait at most.
const (
	maxMisses = 64
	maxWait   = 20 * time.Millisecond
)

// misses counts failed attempts, in a row, to remove the same item.
type misses struct {
	last  Item // the item that the attempts were about
	count int
}

// again counts a failed attempt to remove an item. If there have been maxMisses
// of them, it returns an error. Otherwise it waits a little and returns nil,
// for another attempt.
func (m *misses) again(ctx context.Context, stored Item) error {
	if !bytes.Equal(m.last, stored) {
		m.last, m.count = stored, 0 // another client has done something
	}
	if m.count++; m.count == maxMisses {
		return fmt.Errorf("store lists the item but did not remove it in %d attempts", maxMisses)
	}
	return pause(ctx, rand.N(min(time.Duration(m.count)*time.Millisecond, maxWait)))
}

// PopItem implements [Session]: it removes the newest readable item, and
// returns it. It never removes an undecryptable or malformed item: a wrong key
// does not destroy a history.
//
// Over a store that is a [Rewriter], PopItem removes this item and nothing
// else, whatever lies above it. If no item is readable, PopItem returns nil. If
// the newest readable item is plaintext and an undecryptable or malformed item
// lies above it, PopItem removes nothing and returns [ErrUndecryptable] or
// [ErrMalformed]. The key may be wrong, and plaintext proves nothing.
//
// A store that has only the methods of Session can remove nothing but its
// newest item:
//
//   - If only expired items lie above the newest readable one, PopItem removes
//     those too. If it then fails, they stay removed. Every other error means
//     that nothing was changed, except in the race below.
//   - If the newest item, not counting expired ones, is not readable, PopItem
//     removes nothing. It returns an error that wraps [errors.ErrUnsupported]
//     and the reason.
//   - If there are no items, or only expired ones, it removes nothing and
//     returns nil.
//
// Over such a store PopItem looks before every pop, and calls on one handle
// take turns. Between handles and processes a race remains: an item that
// another client adds between look and pop is popped instead. If that item is
// neither readable nor expired, PopItem adds it to the end again. If the
// process dies at that moment, or if the store fails, the item is lost; in the
// second case the error says so. If another client clears the session at that
// moment, the item comes back after the clearing.
func (s *EncryptedSession) PopItem(ctx context.Context) (Item, error) {
	c := s.begin("PopItem")
	item, err := s.popItem(ctx, &c)
	return item, s.end(ctx, &c, err)
}

func (s *EncryptedSession) popItem(ctx context.Context, c *call) (Item, error) {
	if err := s.prepare(ctx, c); err != nil {
		return nil, err
	}
	item, err := s.popInPlace(ctx, c)
	if errors.Is(err, errNoRewriter) {
		return s.popFromEnd(ctx, c)
	}
	return item, err
}

// popInPlace pops through Rewriter. If another client was faster, it looks
// again.
func (s *EncryptedSession) popInPlace(ctx context.Context, c *call) (Item, error) {
	var missed misses
	for {
		var top judged // the newest readable item
		var above []judged
		changed, err := s.walk(ctx, c, 1, false, func(stored []Item, looks iter.Seq[look]) ([]Item, bool, error) {
			for l := range looks {
				if err := s.refuse(l.judged, l.position); err != nil {
					return nil, false, err
				}
				if !readable(l.judged) {
					above = append(above, judged{opened: opened{key: l.key}, err: l.err})
					continue
				}
				if l.barred != nil {
					return nil, false, l.barred
				}
				top = l.judged
				new := slices.Clone(stored)
				new[l.at] = nil
				return new, false, nil
			}
			return nil, true, nil
		})
		if err != nil {
			return nil, err
		}
		if top.payload == nil {
			c.read(above)
			if len(above) == 0 {
				c.keys.fits.Store(true) // an empty history
			}
			return nil, nil
		}
		if changed > 0 {
			c.read(append(above, top))
			c.Removed = changed
			return top.payload, nil
		}
		if err := missed.again(ctx, top.stored); err != nil {
			return nil, atPosition(len(above), err)
		}
	}
}

// popFromEnd pops with the four methods of Session alone. It looks at the store
// before every pop, and starts again if another client has changed the end
// meanwhile.
func (s *EncryptedSession) popFromEnd(ctx context.Context, c *call) (Item, error) {
	select {
	case s.popping <- struct{}{}:
		defer func() { <-s.popping }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}

	var missed misses
	for {
		// The items to remove: expired ones and then, last, the readable one.
		found, err := s.newest(ctx, c.keys, 1, func(j judged) bool { return !expired(j) })
		if err != nil {
			return nil, err
		}
		if len(found) == 0 || expired(found[len(found)-1]) {
			c.read(found)
			return nil, nil
		}
		if last := len(found) - 1; !readable(found[last]) {
			return nil, fmt.Errorf("%w: store %T cannot remove an item from below another: %w",
				errors.ErrUnsupported, s.store(), atPosition(last, found[last].err))
		}
		for _, expected := range found {
			popped, err := s.popIfKnown(ctx, c.keys, expected)
			if err != nil {
				return nil, err
			}
			if popped.stored == nil {
				if err := missed.again(ctx, expected.stored); err != nil {
					return nil, atPosition(0, err)
				}
				break
			}
			c.Removed++
			c.read([]judged{popped}) // each was the newest when it was popped
			if readable(popped) {
				return popped.payload, nil
			}
		}
	}
}

// popIfKnown looks at the end of the store and pops it if it is readable or
// expired. It returns the item that it has removed, or the zero value if it has
// removed nothing. It does not judge the expected item again.
func (s *EncryptedSession) popIfKnown(ctx context.Context, keys *keyset, expected judged) (judged, error) {
	judge := func(stored Item) judged {
		if bytes.Equal(stored, expected.stored) {
			return expected
		}
		return s.judge(keys, stored, unixTime(time.Now()), keys.sealer.openers())
	}
	end, err := s.store().GetItems(ctx, 1)
	if err != nil {
		return judged{}, fmt.Errorf("store: %w", err)
	}
	if len(end) == 0 || !removable(judge(end[len(end)-1])) {
		return judged{}, nil
	}
	stored, err := s.store().PopItem(ctx)
	if err != nil {
		return judged{}, fmt.Errorf("store: %w", err)
	}
	popped := judge(stored)
	if stored == nil || removable(popped) {
		return popped, nil
	}
	// Another client changed the end between look and pop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putBackTimeout)
	defer cancel()
	if err := s.store().AddItems(ctx, stored); err != nil {
		return judged{}, fmt.Errorf("store did not take back an item that is not readable (%w): %w", popped.err, err)
	}
	return judged{}, nil
}

// putBackTimeout is how long a store may take to take back an item that should
// not have been popped, even if the caller does not want to wait any longer.
const putBackTimeout = 10 * time.Second

// removable reports whether PopItem may remove an item from the end of a store
// that is not a Rewriter.
func removable(j judged) bool { return readable(j) || expired(j) }
