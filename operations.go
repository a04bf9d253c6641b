package encsession

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// batchSize is how many items an operation changes in one call of ReplaceItems.
const batchSize = 1000

// Report is what Audit finds in a session. The six counts from Readable to Malformed add up to Items. Rows that a store
// does not take for items, as sqlstore does not where they are not JSON, are in none of them.
type Report struct {
	Items         int // all that the store holds
	Readable      int // authentic, within the TTL, and a JSON object
	Plaintext     int // not encrypted, whether reads let it through or not
	Expired       int // authentic, but older than the TTL
	Future        int // authentic, but sealed more than a minute ahead of the clock
	Undecryptable int // not authentic: another key, another session, or altered
	Malformed     int // no item under any key, or authentic but not a JSON object

	// Keys counts the authentic items by the key that opened them: Keys[0] the current key, and then the read keys in
	// the order of WithReadKeys. Authentic items are the readable, expired and future ones, and those of the malformed
	// that are authentic.
	Keys []int

	// Oldest and Newest are the times at which the oldest and the newest authentic item were sealed, to the second and
	// in UTC. They are zero where there is none. A time after the year 9999 is reported as the end of that year.
	Oldest, Newest time.Time
}

// Audit looks at every stored item and reports what a read would make of it. It reads the store once, keeps no
// plaintext, changes nothing, and tells the drop handler nothing. With an error the Report is zero.
//
// A key may be retired when its count in Keys is 0 in every session, nothing is Undecryptable, and no writer uses it any
// more. A count of 0 beside items that are Undecryptable may mean that the key given here is not the one that sealed them.
// Where everything is Undecryptable right after a deployment, the key is wrong.
func (s *EncryptedSession) Audit(ctx context.Context) (Report, error) {
	report, err := s.audit(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("encsession: Audit: %w", err)
	}
	return report, nil
}

func (s *EncryptedSession) audit(ctx context.Context) (Report, error) {
	stored, err := s.everything(ctx)
	if err != nil {
		return Report{}, err
	}
	now := time.Now()
	report := Report{Items: len(stored), Keys: make([]int, len(s.sealer.keys()))}
	var oldest, newest uint64 = math.MaxUint64, 0
	for _, item := range stored {
		if err := ctx.Err(); err != nil {
			return Report{}, err
		}
		t, err := s.sealer.authenticate(item)
		if err == nil {
			report.Keys[t.key]++
			oldest, newest = min(oldest, t.sealed), max(newest, t.sealed)
			err = s.sealer.judge(t, now)
		}
		switch {
		case err == nil:
			report.Readable++
		case errors.Is(err, ErrPlaintext):
			report.Plaintext++
		case errors.Is(err, ErrExpired):
			report.Expired++
		case errors.Is(err, ErrFuture):
			report.Future++
		case errors.Is(err, ErrUndecryptable):
			report.Undecryptable++
		default:
			report.Malformed++
		}
	}
	if oldest <= newest {
		report.Oldest, report.Newest = sealingTime(oldest), sealingTime(newest)
	}
	return report, nil
}

// sealingTime returns a time that can be formatted and encoded, which one after the year 9999 cannot.
func sealingTime(seconds uint64) time.Time {
	end := time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
	if seconds > uint64(end.Unix()) {
		return end
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// Rekey seals every item that a read key opens again under the current key, with the same payload and the same time of
// sealing, expired items included, and returns how many. It does not touch plaintext, nor what no key opens.
//
// It is safe beside readers, writers and another Rekey, and can be broken off at any time and run again: it replaces an
// item only where that is still as it was. Items that others add under an old key meanwhile are left for the next run;
// Audit tells whether one is needed. Rekey holds the session in memory and writes in batches, with a pause after each that
// is as long as the batch took, for the sake of other clients. The number that it returns counts what was changed, also
// with an error.
//
// Rekey needs a store that is a Replacer, and otherwise returns an error that wraps errors.ErrUnsupported. Do not run it
// while a Python service reads with the old key: that would delete what it cannot read.
func (s *EncryptedSession) Rekey(ctx context.Context) (int, error) {
	changed, err := s.rewrite(ctx, func(stored Item) (Item, bool, error) {
		sealed, changed, err := s.sealer.reseal(stored)
		if isVerdict(err) {
			return nil, false, nil // not for this operation
		}
		return sealed, changed, err
	})
	if err != nil {
		return changed, fmt.Errorf("encsession: Rekey: %w", err)
	}
	return changed, nil
}

// SealPlaintext seals every stored item that is not encrypted, as of now, and returns how many. It is for the migration
// of a store that held plaintext, and it makes legitimate whatever lies there: run it once, while all that can write to
// the database is trusted, and set WithoutPlaintext for good. Plaintext has no age; from now on, these items have one, and
// expire with the TTL of each reader. It does not find out whether the key is the right one: Audit shows items that are
// undecryptable where it is not.
//
// It carries on past malformed items, which it cannot seal, and returns their errors joined; each says which item and
// wraps ErrMalformed. For the rest it works, and fails, like Rekey.
func (s *EncryptedSession) SealPlaintext(ctx context.Context) (int, error) {
	changed, err := s.rewrite(ctx, func(stored Item) (Item, bool, error) {
		_, err := findToken(stored)
		if !errors.Is(err, ErrPlaintext) {
			return nil, false, err
		}
		sealed, err := s.sealer.sealAt(stored, time.Now()) // findToken has seen that it is an object
		return sealed, err == nil, err
	})
	if err != nil {
		return changed, fmt.Errorf("encsession: SealPlaintext: %w", err)
	}
	return changed, nil
}

// Purge removes every authentic item that was sealed longer ago than olderThan, whatever the TTL, and returns how many.
// It removes nothing else: not plaintext, and not what no key opens. Age is counted as for the TTL, so that a Purge by
// the TTL removes what has expired. olderThan is in whole seconds, 0 or more; anything else is an error. 0 does not turn it
// off: it removes all but what was sealed in this very second.
//
// For the rest Purge works, and fails, like Rekey. What is removed may remain in database files, logs and backups.
func (s *EncryptedSession) Purge(ctx context.Context, olderThan time.Duration) (int, error) {
	if olderThan < 0 || olderThan%time.Second != 0 {
		return 0, fmt.Errorf("encsession: Purge: age of %v is not whole seconds, 0 or more", olderThan)
	}
	clock := unixTime(time.Now())
	changed, err := s.rewrite(ctx, func(stored Item) (Item, bool, error) {
		t, err := s.sealer.authenticate(stored)
		return nil, err == nil && olderBy(t.sealed, clock, olderThan), nil
	})
	if err != nil {
		return changed, fmt.Errorf("encsession: Purge: %w", err)
	}
	return changed, nil
}

// everything returns all stored items, whose bytes the caller must not change.
func (s *EncryptedSession) everything(ctx context.Context) ([]Item, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	stored, err := s.getStored(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return stored, nil
}

// rewrite replaces stored items by what decide makes of them, in batches: a nil item removes, and not ok leaves the item
// alone. An error of decide is about its item only; rewrite goes on and returns such errors joined. The count is of
// items that were changed, also where there is an error.
func (s *EncryptedSession) rewrite(ctx context.Context, decide func(stored Item) (new Item, ok bool, err error)) (int, error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	replacer, err := s.replacer()
	if err != nil {
		return 0, err
	}
	// A decorator may be a Replacer and its store not. Better to know before the work, and even if there is none.
	if _, err := replacer.ReplaceItems(ctx, nil, nil); err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	stored, err := s.everything(ctx)
	if err != nil {
		return 0, err
	}
	slices.Reverse(stored) // so that an index is the position from the newest
	changed := 0
	var errs []error
	var lastBatch time.Duration
	for start := 0; start < len(stored); start += batchSize {
		var old, new []Item
		for i, item := range stored[start:min(start+batchSize, len(stored))] {
			if err := ctx.Err(); err != nil {
				return changed, err
			}
			replacement, ok, err := decide(item)
			if err != nil {
				errs = append(errs, atPosition(start+i, err))
			} else if ok {
				old, new = append(old, item), append(new, replacement)
			}
		}
		if len(old) == 0 {
			continue
		}
		if err := pause(ctx, lastBatch); err != nil {
			return changed, err
		}
		begin := time.Now()
		n, err := replacer.ReplaceItems(ctx, old, new)
		lastBatch = time.Since(begin)
		if err != nil {
			return changed, errors.Join(append(errs, fmt.Errorf("store: %w", err))...)
		}
		changed += n
	}
	return changed, errors.Join(errs...)
}

// pause gives other clients the time that a batch has taken from them: a store may lock them all out meanwhile, as SQLite
// does, and let none of them in between two batches that follow at once.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isVerdict reports whether an error is about what is stored, and not about an operation that failed.
func isVerdict(err error) bool {
	return errors.Is(err, ErrUndecryptable) || errors.Is(err, ErrMalformed) || errors.Is(err, ErrPlaintext)
}
