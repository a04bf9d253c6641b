package encsession

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// look is a stored item as a walk sees it, in memory of its own.
type look struct {
	judged
	at       int   // in its batch
	position int   // from the newest item, which is 0
	barred   error // why the item must stay as it is; nil if it may change
}

// errNoRewriter is the error of walk over a store that cannot rewrite.
var errNoRewriter = fmt.Errorf("%w: store is not a Rewriter", errors.ErrUnsupported)

// walk goes over the stored items in one pass of the store's RewriteItems, and
// returns how many were changed. edit gets each batch as it is stored, and an
// iterator that opens and judges the items in it one by one. If edit returns an
// error, walk leaves this batch alone, ends the pass and returns the error. If
// the store cannot rewrite, the error is an errNoRewriter, and edit was not
// called.
//
// Before each further batch, a careful walk asks for the keys again. If the
// last batch was changed, it first pauses for as long as that took, so that
// other clients get a turn.
//
// The first undecryptable or malformed item is the barrier. With a wrong key
// every envelope looks undecryptable, so plaintext below the barrier must stay.
func (s *EncryptedSession) walk(ctx context.Context, c *call, first int, careful bool, edit func(stored []Item, looks iter.Seq[look]) (new []Item, more bool, err error)) (int, error) {
	rewriter, ok := s.store().(Rewriter)
	if !ok {
		return 0, fmt.Errorf("%w: %T", errNoRewriter, s.store())
	}
	position, batches := 0, 0
	var edited time.Time // when the last batch went to the store to be changed; zero if it stayed as it was
	var barrier, failed error
	changed, err := rewriter.RewriteItems(ctx, first, func(stored []Item) (new []Item, more bool) {
		if batches++; batches > 1 && careful {
			if !edited.IsZero() {
				failed = pause(ctx, time.Since(edited))
			}
			if failed == nil {
				failed = s.prepare(ctx, c)
			}
			if failed != nil {
				return nil, false
			}
		}
		now, openers := unixTime(time.Now()), c.keys.sealer.openers()
		looks := func(yield func(look) bool) {
			for i, item := range stored {
				if failed = ctx.Err(); failed != nil {
					return
				}
				l := look{judged: s.judge(c.keys, bytes.Clone(item), now, openers), at: i, position: position}
				position++
				if barrier == nil && (errors.Is(l.err, ErrUndecryptable) || errors.Is(l.err, ErrMalformed)) {
					barrier = fmt.Errorf("an item that is not encrypted was left alone, because it lies below one that cannot be read: %w", atPosition(l.position, l.err))
				}
				if l.plaintext() {
					l.barred = barrier
				}
				if !yield(l) {
					return
				}
			}
		}
		new, more, err := edit(stored, looks)
		if failed = cmp.Or(failed, err, ctx.Err()); failed != nil {
			return nil, false
		}
		edited = time.Time{}
		if new != nil {
			edited = time.Now()
		}
		return new, more
	})
	switch {
	case failed != nil:
		return changed, failed
	case batches == 0 && errors.Is(err, errors.ErrUnsupported):
		return changed, fmt.Errorf("%w: %w", errNoRewriter, err) // a decorator whose own store cannot
	case err != nil:
		return changed, fmt.Errorf("store: %w", err)
	}
	return changed, nil
}

// operate walks over the session and replaces each stored item by the result of
// decide. If decide returns the stored bytes, the item stays as it is; if nil,
// it is removed.
func (s *EncryptedSession) operate(ctx context.Context, c *call, decide func(look) (Item, error)) (int, error) {
	if err := s.prepare(ctx, c); err != nil {
		return 0, err
	}
	return s.walk(ctx, c, maxBatchItems, true, func(stored []Item, looks iter.Seq[look]) (new []Item, more bool, err error) {
		for l := range looks {
			c.count(l.judged)
			item, err := decide(l)
			if err != nil {
				return nil, false, atPosition(l.position, err)
			}
			if bytes.Equal(item, l.stored) {
				continue
			}
			if new == nil {
				new = slices.Clone(stored)
			}
			new[l.at] = item
		}
		return new, true, nil
	})
}

// pause waits for d, or until the context is done. Between two batches it gives
// other clients the time that the last batch has taken from them. A store such
// as SQLite may lock them all out during a batch, and may let none of them in
// if the next batch follows at once.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// Rekey seals again, under the current key, every item that an older key opens,
// expired items included. It returns how many. Their payloads and times of
// sealing stay the same. It leaves plaintext alone.
//
// Rekey also leaves alone the items that no key opens. If some of them are
// malformed, or are undecryptable and not older than the TTL, Rekey finishes
// its work and returns a [*SkippedError] that counts these. Do not retire a key
// then.
//
// Rekey is safe beside readers, writers and another Rekey: it replaces an item
// only if nobody else has changed it meanwhile. It can be broken off at any
// time and run again. It leaves items that others add under an old key
// meanwhile for the next run; [EncryptedSession.Audit] tells whether one is
// needed.
//
// Rekey works in batches. After each batch that it has changed, it pauses for
// as long as that took. If the current key changes between two batches, it
// stops with [ErrKeyChanged]. If there is an error, the count is still that of
// the changed items.
//
// Rekey does not check that the current key is the one that the services have;
// package fleet does.
//
// Rekey needs a store that is a [Rewriter], and otherwise returns an error that
// wraps [errors.ErrUnsupported]. Do not run it while a Python service reads
// with the old key: a pop of that service deletes every item that it cannot
// read.
func (s *EncryptedSession) Rekey(ctx context.Context) (int, error) {
	c := s.begin("Rekey")
	var skipped SkippedError
	now := unixTime(time.Now())
	changed, err := s.operate(ctx, &c, func(l look) (Item, error) {
		switch {
		case l.authentic() && l.key != current:
			return c.keys.sealer.sealAt(l.payload, l.sealed)
		case errors.Is(l.err, ErrUndecryptable) && !c.keys.sealer.expired(l.sealed, now):
			skipped.Undecryptable++
		case errors.Is(l.err, ErrMalformed) && !l.authentic():
			skipped.Malformed++
		}
		return l.stored, nil
	})
	c.Sealed = changed
	return changed, s.end(ctx, &c, skipped.or(err))
}

// SealPlaintext seals every stored item that is not encrypted, as of now, and
// returns how many. It is for the migration of a store that held plaintext.
// Afterwards everything that lay there passes for authentic, so run it once,
// while everybody who can write to the database is trusted. Plaintext has no
// age; from now on these items have one, and expire with the TTL of each
// reader.
//
// If the session holds an envelope that no key opens, and none that the current
// key opens, SealPlaintext changes nothing and returns an [ErrUndecryptable]:
// the key is likely to be wrong. It leaves alone malformed items, and plaintext
// that lies below an undecryptable or malformed item. It then returns a
// [*SkippedError] that counts these. With [WithUnreadableHistory] it does not
// refuse, and seals the plaintext below such an item too; malformed items stay
// as they are.
//
// It needs no [WithPlaintext], and reads the session twice. Batches, pauses and
// errors are as in [EncryptedSession.Rekey].
func (s *EncryptedSession) SealPlaintext(ctx context.Context) (int, error) {
	c := s.begin("SealPlaintext")
	if err := s.ownHistory(ctx, &c); err != nil {
		return 0, s.end(ctx, &c, err)
	}
	var skipped SkippedError
	changed, err := s.operate(ctx, &c, func(l look) (Item, error) {
		switch {
		case errors.Is(l.err, ErrMalformed):
			skipped.Malformed++
		case !l.plaintext():
		case l.barred != nil && !s.unreadableHistory:
			skipped.Plaintext++
		default:
			return c.keys.sealer.sealAt(l.stored, unixTime(time.Now()))
		}
		return l.stored, nil
	})
	c.Sealed = changed
	return changed, s.end(ctx, &c, skipped.or(err))
}

// ownHistory walks over the session, and returns an error if it holds
// undecryptable items and none that the current key opens.
func (s *EncryptedSession) ownHistory(ctx context.Context, c *call) error {
	own, undecryptable := false, false
	walked := new(call) // its counts are not those of c
	_, err := s.operate(ctx, walked, func(l look) (Item, error) {
		own = own || l.key == current
		undecryptable = undecryptable || errors.Is(l.err, ErrUndecryptable)
		return l.stored, nil
	})
	c.keys = walked.keys
	if err == nil && undecryptable && !own && !s.unreadableHistory {
		err = s.unfit(c.keys, ErrUndecryptable, "no key opens its encrypted items")
	}
	return err
}

// Purge removes every authentic item that was sealed longer ago than age,
// whatever the TTL, and returns how many. It removes nothing else: no
// plaintext, and no undecryptable item. If an undecryptable item claims to be
// older than age, Purge finishes its work and returns a [*SkippedError] that
// counts such items.
//
// Age is counted as for the TTL, so that a Purge by the TTL removes the expired
// items. The age is in whole seconds, 0 or more; anything else is an error. An
// age of 0 does not turn Purge off: it removes every authentic item that was
// sealed before this very second.
//
// Batches, pauses and errors are as in [EncryptedSession.Rekey]. Removed items
// may remain in database files, logs and backups.
func (s *EncryptedSession) Purge(ctx context.Context, age time.Duration) (int, error) {
	c := s.begin("Purge")
	if age < 0 || age%time.Second != 0 {
		return 0, s.end(ctx, &c, fmt.Errorf("age of %v is not whole seconds, 0 or more", age))
	}
	now := unixTime(time.Now())
	err := s.remove(ctx, &c, func(l look, skipped *SkippedError) bool {
		old := olderThan(l.sealed, now, age)
		if old && errors.Is(l.err, ErrUndecryptable) {
			skipped.Undecryptable++
		}
		return old && l.authentic()
	})
	return c.Removed, s.end(ctx, &c, err)
}

// maxPasses is how often remove walks over a session, if others keep changing
// it.
const maxPasses = 10

// remove removes the items for which doomed returns true. If another client,
// such as a Rekey, has changed some of them meanwhile, it walks again.
func (s *EncryptedSession) remove(ctx context.Context, c *call, doomed func(l look, skipped *SkippedError) bool) error {
	for range maxPasses {
		wanted := 0
		var skipped SkippedError
		changed, err := s.operate(ctx, c, func(l look) (Item, error) {
			if !doomed(l, &skipped) {
				return l.stored, nil
			}
			wanted++
			return nil, nil
		})
		c.Removed += changed
		if err != nil || changed >= wanted {
			return skipped.or(err)
		}
	}
	return fmt.Errorf("in each of %d passes, other clients changed items that were to be removed: run the operation again", maxPasses)
}

// DeleteItems removes every item for which match returns true, and returns how
// many. It is for erasure, such as "everything that this person said".
//
// match sees every authentic item once, newest first, expired ones too, but no
// malformed ones. Under [WithPlaintext] it also sees the plaintext above the
// first undecryptable or malformed item. It does not see items that are added
// meanwhile. match runs in the caller's goroutine with no lock held. It may
// keep the item. If another client changes an item before it is removed,
// DeleteItems walks again, at most ten times in all: then match sees all items
// again, and the added ones too.
//
// If there are items that match did not see (undecryptable and malformed ones,
// and plaintext), DeleteItems finishes its work and returns a [*SkippedError]
// that counts them: the erasure is not complete.
//
// Batches, pauses and errors are as in [EncryptedSession.Rekey]. Deleted items
// may remain in database files, logs and backups.
func (s *EncryptedSession) DeleteItems(ctx context.Context, match func(Item) bool) (int, error) {
	c := s.begin("DeleteItems")
	if match == nil {
		return 0, s.end(ctx, &c, errors.New("match is nil"))
	}
	err := s.remove(ctx, &c, func(l look, skipped *SkippedError) bool {
		switch {
		case errors.Is(l.err, ErrUndecryptable):
			skipped.Undecryptable++
		case errors.Is(l.err, ErrMalformed), l.authentic() && !ValidItem(l.payload): // the second may have expired
			skipped.Malformed++
		case l.barred != nil || errors.Is(l.err, ErrPlaintext):
			skipped.Plaintext++
		default: // readable, expired, or from the future
			return match(l.payload)
		}
		return false
	})
	return c.Removed, s.end(ctx, &c, err)
}

// RewriteItems implements [Rewriter], for decorators around this session. edit
// sees the readable items, and the others stay as they are. A replaced item
// keeps its sealing time; one that was plaintext is sealed as of now. If edit
// removes or replaces plaintext that lies below an undecryptable or malformed
// item, that is an error, as in PopItem.
//
// If the current key changes between two batches, RewriteItems stops with
// [ErrKeyChanged]. If the first batch of the store holds no readable item, a
// later one can give edit two batches. An error in the second of them leaves
// the first unchanged too. If the store is not a Rewriter, the error wraps
// [errors.ErrUnsupported].
func (s *EncryptedSession) RewriteItems(ctx context.Context, first int, edit func(stored []Item) (new []Item, more bool)) (int, error) {
	c := s.begin("RewriteItems")
	changed, err := s.rewriteItems(ctx, &c, first, edit)
	return changed, s.end(ctx, &c, err)
}

func (s *EncryptedSession) rewriteItems(ctx context.Context, c *call, first int, edit func([]Item) ([]Item, bool)) (int, error) {
	if edit == nil {
		return 0, errors.New("edit is nil")
	}
	if err := s.prepare(ctx, c); err != nil {
		return 0, err
	}
	most := max(first, 1)
	return s.walk(ctx, c, first, true, func(stored []Item, looks iter.Seq[look]) (new []Item, more bool, err error) {
		var readables []look
		var items, edited []Item // their payloads, and what edit has returned for a batch of them
		for l := range looks {
			c.count(l.judged)
			if err := s.refuse(l.judged, l.position); err != nil {
				return nil, false, err
			}
			if readable(l.judged) {
				readables, items = append(readables, l), append(items, bytes.Clone(l.payload))
			}
		}
		more = true
		for more && len(readables) > 0 && ctx.Err() == nil { // once, or twice if edit wants few at first
			n := min(most, len(readables))
			edited, more = edit(items[:n:n])
			if err := checkEdit(n, edited); err != nil {
				return nil, false, err
			}
			for i, item := range edited {
				if new == nil {
					new = slices.Clone(stored)
				}
				if new[readables[i].at], err = s.reseal(c, readables[i], item); err != nil {
					return nil, false, err
				}
			}
			readables, items, most = readables[n:], items[n:], maxBatchItems
		}
		return new, more, nil
	})
}

// reseal returns the bytes to store in place of a readable item for which edit
// has returned item; nil removes it.
func (s *EncryptedSession) reseal(c *call, l look, item Item) (Item, error) {
	switch {
	case item != nil && bytes.Equal(item, l.payload):
		return l.stored, nil
	case l.barred != nil:
		return nil, l.barred
	case item == nil:
		c.Removed++
		return nil, nil
	}
	c.Sealed++
	sealed := l.sealed
	if l.plaintext() {
		sealed = unixTime(time.Now())
	}
	return c.keys.sealer.sealAt(item, sealed)
}
