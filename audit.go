package encsession

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Report is the result of [EncryptedSession.Audit] for a session. The six
// counts from Readable to Malformed add up to Items. A store may pass over rows
// that are not items, as sqlstore does with rows that are not JSON. No count
// includes these rows.
type Report struct {
	Items         int // all that the store holds
	Readable      int // authentic, within the TTL, and a JSON object
	Plaintext     int // not encrypted, whether reads return it or not
	Expired       int // authentic, but older than the TTL
	Future        int // authentic, but sealed more than a minute ahead of the clock
	Undecryptable int // not authentic: another key, another session, or altered
	Malformed     int // cannot be an item under any key, or authentic but not a JSON object

	// Keys counts the authentic items by the key that opens them: one entry for
	// each key of the keyring, in its order, the current one first. The
	// authentic items are the readable, expired and future ones, and the
	// malformed ones that a key opens.
	Keys []KeyCount

	// Oldest and Newest are the times at which the oldest and the newest
	// authentic item were sealed, to the second and in UTC. They are zero if
	// there is none. A time after the year 9999 is reported as the end of that
	// year.
	Oldest, Newest time.Time
}

// KeyCount is how many items a key opens.
type KeyCount struct {
	Fingerprint string // of the master key, as Key.Fingerprint returns it
	Items       int
}

// Audit looks at every stored item and reports how a read would judge it. It
// reads the store once, keeps no plaintext, and changes nothing. If there is an
// error, the Report is zero.
//
// A key may be retired if its count in Keys is 0 in every session, nothing is
// Undecryptable, and no writer uses it any more. A count of 0 beside
// Undecryptable items may mean that the key given here is not the one that
// sealed them. If everything is Undecryptable right after a deployment, the key
// is wrong.
func (s *EncryptedSession) Audit(ctx context.Context) (Report, error) {
	c := s.begin("Audit")
	report, err := s.audit(ctx, &c)
	return report, s.end(ctx, &c, err)
}

func (s *EncryptedSession) audit(ctx context.Context, c *call) (Report, error) {
	if err := s.prepare(ctx, c); err != nil {
		return Report{}, err
	}
	var report Report
	for _, key := range c.keys.ring.all() {
		report.Keys = append(report.Keys, KeyCount{Fingerprint: key.Fingerprint()})
	}
	_, err := s.walk(ctx, c, maxBatchItems, false, func(_ []Item, looks iter.Seq[look]) ([]Item, bool, error) {
		for l := range looks {
			report.add(c, l.judged)
		}
		return nil, true, nil
	})
	if errors.Is(err, errNoRewriter) {
		var stored []Item
		if stored, err = s.store().GetItems(ctx, 0); err != nil {
			err = fmt.Errorf("store: %w", err)
		}
		now, openers := unixTime(time.Now()), c.keys.sealer.openers()
		for i := 0; i < len(stored) && err == nil; i++ {
			report.add(c, s.judge(c.keys, stored[i], now, openers))
			err = ctx.Err()
		}
	}
	if err != nil {
		return Report{}, err
	}
	return report, nil
}

// add counts one stored item.
func (r *Report) add(c *call, j judged) {
	c.count(j)
	r.Items++
	if j.authentic() {
		r.Keys[j.key].Items++
		sealed := sealingTime(j.sealed)
		if r.Oldest.IsZero() || sealed.Before(r.Oldest) {
			r.Oldest = sealed
		}
		if sealed.After(r.Newest) {
			r.Newest = sealed
		}
	}
	switch {
	case j.plaintext():
		r.Plaintext++
	case j.err == nil:
		r.Readable++
	case errors.Is(j.err, ErrExpired):
		r.Expired++
	case errors.Is(j.err, ErrFuture):
		r.Future++
	case errors.Is(j.err, ErrUndecryptable):
		r.Undecryptable++
	default:
		r.Malformed++
	}
}

// lastSecond is 9999-12-31 23:59:59 UTC. A later time could not be formatted and
// encoded.
const lastSecond = 253402300799

// sealingTime returns the time of a token, or lastSecond if that is earlier.
func sealingTime(seconds uint64) time.Time {
	return time.Unix(int64(min(seconds, lastSecond)), 0).UTC()
}
