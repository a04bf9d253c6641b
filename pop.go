package encsession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// maxMisses is how often in a row PopItem finds the store as it was and yet cannot remove what the store shows, before it
// takes the store for broken, or for a replica that lags. Between two attempts it waits for maxWait at most.
const (
	maxMisses = 64
	maxWait   = 20 * time.Millisecond
)

var errStuck = errors.New("the store shows it, but does not find it to remove it")

// misses counts attempts to remove an item that failed while nothing else seemed to happen.
type misses struct {
	last  Item // the item that the attempts were about
	count int
}

// again returns nil after a while, for another attempt at an item, or an error where there have been enough.
func (m *misses) again(ctx context.Context, stored Item) error {
	if !bytes.Equal(m.last, stored) {
		m.last, m.count = stored, 0 // somebody else has done something
	}
	if m.count++; m.count == maxMisses {
		return errStuck
	}
	return pause(ctx, rand.N(min(time.Duration(m.count)*time.Millisecond, maxWait)))
}

// pop removes the newest readable item and returns it with the drops to report, also where there is an error.
func (s *EncryptedSession) pop(ctx context.Context) (Item, []Drop, error) {
	if replacer, err := s.replacer(); err == nil {
		return s.popInPlace(ctx, replacer)
	}
	return s.popFromEnd(ctx)
}

// popInPlace pops through Replacer. Where another client was faster, it looks again.
func (s *EncryptedSession) popInPlace(ctx context.Context, replacer Replacer) (Item, []Drop, error) {
	var missed misses
	for {
		found, err := s.newest(ctx, nil, 1, readable)
		if err != nil {
			return nil, nil, err
		}
		if len(found) == 0 || !readable(found[len(found)-1]) {
			return nil, s.drops(found), nil
		}
		top := found[len(found)-1]
		if err := refusePlaintextBelow(found); err != nil {
			return nil, nil, err
		}
		removed, err := replacer.ReplaceItems(ctx, []Item{top.stored}, []Item{nil})
		if errors.Is(err, errors.ErrUnsupported) && cannotReplace(ctx, replacer) {
			return s.popFromEnd(ctx) // a decorator whose own store cannot replace: nothing has been changed
		}
		if err != nil {
			return nil, nil, fmt.Errorf("store: %w", err)
		}
		if removed > 0 {
			return top.item, s.drops(found), nil
		}
		if err := missed.again(ctx, top.stored); err != nil {
			return nil, nil, atPosition(len(found)-1, err)
		}
	}
}

// cannotReplace asks a Replacer for nothing, to tell one that can never replace from one whose error only looks so: some
// errors of the system, such as EOPNOTSUPP, are errors.ErrUnsupported too.
func cannotReplace(ctx context.Context, replacer Replacer) bool {
	_, err := replacer.ReplaceItems(ctx, nil, nil)
	return errors.Is(err, errors.ErrUnsupported)
}

// refusePlaintextBelow returns an error where the last of found, the item to be removed, is plaintext below an item that no
// key opens: under a wrong key everything that is encrypted looks so, and must not be eaten with what lay there before.
func refusePlaintextBelow(found []judged) error {
	if top := found[len(found)-1]; !bytes.Equal(top.item, top.stored) {
		return nil // encrypted
	}
	for position, j := range found {
		if errors.Is(j.err, ErrUndecryptable) {
			return fmt.Errorf("what is not encrypted is not removed from below an item that no key opens: %w", atPosition(position, j.err))
		}
	}
	return nil
}

// popFromEnd pops with the four methods of Session alone. It looks at the store before every pop, and starts again
// where another client has changed the end meanwhile.
func (s *EncryptedSession) popFromEnd(ctx context.Context) (Item, []Drop, error) {
	select {
	case s.popping <- struct{}{}:
		defer func() { <-s.popping }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}

	var drops []Drop // of what has been removed
	var missed misses
	for {
		// The items to remove: expired ones and then, last, the readable one.
		found, err := s.newest(ctx, nil, 1, func(j judged) bool { return !expired(j) })
		if err != nil {
			return nil, drops, err
		}
		if len(found) == 0 || expired(found[len(found)-1]) {
			return nil, append(drops, s.drops(found)...), nil
		}
		if last := len(found) - 1; !readable(found[last]) {
			return nil, drops, fmt.Errorf("%w: store %T cannot remove an item from below another: %w",
				errors.ErrUnsupported, s.store(), atPosition(last, found[last].err))
		}
		for _, expected := range found {
			popped, err := s.popIfKnown(ctx, expected)
			if err != nil {
				return nil, drops, err
			}
			if popped.stored == nil {
				if err := missed.again(ctx, expected.stored); err != nil {
					return nil, drops, atPosition(0, err)
				}
				break
			}
			if readable(popped) {
				return popped.item, drops, nil
			}
			drops = append(drops, s.drop(0, popped.err))
		}
	}
}

// popIfKnown looks at the end of the store and pops it if it is readable or expired. It returns what it has removed,
// or the zero value where it has removed nothing. The item expected there need not be judged again.
func (s *EncryptedSession) popIfKnown(ctx context.Context, expected judged) (judged, error) {
	judge := func(stored Item) judged {
		if bytes.Equal(stored, expected.stored) {
			return expected
		}
		return s.judge(stored, time.Now())
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

// putBackTimeout is how long a store may take to take back what should not have been popped, even if the caller does
// not want to wait any longer.
const putBackTimeout = 10 * time.Second

// removable reports whether an item may be popped where popping is all that the store can do.
func removable(j judged) bool { return readable(j) || expired(j) }
