package encsession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// judged is a stored item and the judgement of a read. If err is nil, the item
// is readable, and the payload is the item that a read returns. If the item has
// not been judged yet, both err and the payload are nil.
type judged struct {
	opened
	stored Item
	err    error
}

func readable(j judged) bool { return j.err == nil }

func expired(j judged) bool { return errors.Is(j.err, ErrExpired) }

func (j judged) authentic() bool { return j.key != noKey }

func (j judged) plaintext() bool {
	return j.key == noKey && (j.err == nil || errors.Is(j.err, ErrPlaintext))
}

// judge judges an item of the store. A readable item that is not encrypted is
// its own payload.
func (s *EncryptedSession) judge(keys *keyset, stored Item, now uint64, openers []opener) judged {
	o, err := keys.sealer.open(stored, now, openers)
	if s.plaintext && errors.Is(err, ErrPlaintext) {
		o.payload, err = stored, nil
	}
	if o.key == current && !keys.fits.Load() {
		keys.fits.Store(true)
	}
	return judged{opened: o, stored: stored, err: err}
}

// newest judges stored items, newest first, until count has returned true for
// limit of them. If limit is 0 or less, it judges all items. The result is in
// that order.
//
// It reads the store in windows, each more than twice as long as the one
// before. A longer window begins with the items of the shorter one, so those
// are judged only once, unless other clients have changed the store. Under
// WithStrictReads, the error is about the first item that a read would drop,
// other than an expired one.
func (s *EncryptedSession) newest(ctx context.Context, keys *keyset, limit int, count func(judged) bool) (found []judged, err error) {
	now := unixTime(time.Now())
	for window := limit; ; window = wider(window, limit) {
		stored, err := s.store().GetItems(ctx, window)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		if len(stored) == 0 {
			keys.fits.Store(true) // an empty history
		}
		before, counted := found, 0
		found = make([]judged, 0, len(stored))
		for len(found) < len(stored) {
			// If n more items must count, at least n more must be judged.
			start, n := len(found), len(stored)-len(found)
			if limit > 0 {
				n = min(n, limit-counted)
			}
			for position := start; position < start+n; position++ {
				j := judged{stored: stored[len(stored)-1-position]}
				if position < len(before) && bytes.Equal(before[position].stored, j.stored) {
					j = before[position]
				}
				found = append(found, j)
			}
			if err := each(ctx, found[start:], judging{s, keys, start, now, nil}); err != nil {
				return nil, err
			}
			for _, j := range found[start:] {
				if count(j) {
					counted++
				}
			}
			if counted == limit && limit > 0 {
				return found, nil
			}
		}
		if window <= 0 || len(stored) < window {
			return found, nil
		}
	}
}

// judging judges the items from position start on that have not been judged
// yet.
type judging struct {
	s       *EncryptedSession
	keys    *keyset
	start   int
	now     uint64
	openers []opener
}

func (w judging) worker() judging { w.openers = w.keys.sealer.openers(); return w }

func (judging) size(j *judged) int { return len(j.stored) }

func (w judging) do(i int, j *judged) error {
	if j.payload == nil && j.err == nil {
		*j = w.s.judge(w.keys, j.stored, w.now, w.openers)
	}
	if j.err != nil {
		j.payload = nil // nobody wants it
	}
	return w.s.refuse(*j, w.start+i)
}

// refuse returns an error for an item that is an error of a strict read.
func (s *EncryptedSession) refuse(j judged, position int) error {
	if s.strict && !readable(j) && !expired(j) {
		return atPosition(position, j.err)
	}
	return nil
}

func atPosition(position int, err error) error {
	return fmt.Errorf("item %d from the newest: %w", position, err)
}

// wider returns the size of the window that follows one of size n: 2n plus
// limit. So if the newest k items do not count, log2(k/limit+2) windows, rounded
// up, are enough. If the size would overflow, it returns 0, which means all items.
func wider(n, limit int) int {
	if n > (math.MaxInt-limit)/2 {
		return 0
	}
	return 2*n + limit
}
