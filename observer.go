package encsession

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Op names a method of [EncryptedSession], as in "GetItems".
type Op string

// Event tells an observer about one call of a method. It holds no item and no
// key. Err, and so the log value, may quote an error of the store or of the
// KeySource.
type Event struct {
	Op        Op
	SessionID string // as EncryptedSession.SessionID returns it
	Duration  time.Duration
	Err       error // the error that the call returns

	// These are numbers of items. Opened counts the stored items that a key has
	// opened, even if they had expired. OpenedByOlder counts those of them that
	// an older key has opened. Plaintext counts the stored items that were not
	// encrypted. If AddItems looks at the history, it does not count these
	// items. For RewriteItems, Sealed and Removed count the changes that edit
	// asked for.
	Sealed, Opened, OpenedByOlder, Plaintext, Removed int

	// Drops are the stored items that GetItems or PopItem left out, newest
	// first. A call that fails has no drops, except for the expired items that
	// a PopItem has removed. The observer must not change or keep the slice.
	Drops []Drop
}

// Drop is a stored item that a read left out.
type Drop struct {
	Position int   // counted from the newest stored item, which is 0
	Err      error // wraps ErrExpired, ErrFuture, ErrUndecryptable, ErrMalformed or ErrPlaintext
}

// dropReasons are the errors that say why an item is dropped, with their names
// in logs.
var dropReasons = []struct {
	name string
	err  error
}{
	{"expired", ErrExpired},
	{"future", ErrFuture},
	{"undecryptable", ErrUndecryptable},
	{"malformed", ErrMalformed},
	{"plaintext", ErrPlaintext},
}

// Dropped counts the drops for a reason, such as [ErrUndecryptable].
func (e Event) Dropped(reason error) int {
	n := 0
	for _, drop := range e.Drops {
		if errors.Is(drop.Err, reason) {
			n++
		}
	}
	return n
}

// LogValue implements [slog.LogValuer]. It returns a group with the method, the
// session, the duration and, if there is one, the error. It also has the counts
// that are not 0; drops are counted by reason.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("op", string(e.Op)),
		slog.String("session_id", e.SessionID),
		slog.Duration("duration", e.Duration),
	}
	counts := []slog.Attr{
		slog.Int("sealed", e.Sealed), slog.Int("opened", e.Opened), slog.Int("opened_by_older", e.OpenedByOlder),
		slog.Int("plaintext", e.Plaintext), slog.Int("removed", e.Removed),
	}
	for _, reason := range dropReasons {
		counts = append(counts, slog.Int("dropped_"+reason.name, e.Dropped(reason.err)))
	}
	attrs = append(attrs, slices.DeleteFunc(counts, func(count slog.Attr) bool { return count.Value.Int64() == 0 })...)
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// LogDrops returns an observer that logs one line for each call that dropped
// something. The level is Debug if all these items had expired, and otherwise
// Warn. Items that expire are expected; the others are worth a look, and many
// undecryptable ones mean a wrong key. A nil logger gives a nil func, which
// [WithObserver] refuses.
func LogDrops(logger *slog.Logger) func(context.Context, Event) {
	if logger == nil {
		return nil
	}
	return func(ctx context.Context, e Event) {
		if len(e.Drops) == 0 {
			return
		}
		level := slog.LevelWarn
		if e.Dropped(ErrExpired) == len(e.Drops) {
			level = slog.LevelDebug
		}
		logger.LogAttrs(ctx, level, "encsession: a read left items out", slog.Any("event", e))
	}
}

// call is one call of a method, with the event for its observers.
type call struct {
	Event
	start time.Time
	keys  *keyset // of the last batch
}

func (s *EncryptedSession) begin(op Op) call {
	return call{Event: Event{Op: op, SessionID: s.SessionID()}, start: time.Now()}
}

// end tells the observers about a call and returns the error of the call. It is
// the last thing that a call does.
func (s *EncryptedSession) end(ctx context.Context, c *call, err error) error {
	err = wrap(string(c.Op), err)
	if s == nil {
		return err
	}
	c.Err, c.Duration = err, time.Since(c.start)
	for _, observe := range s.observers {
		observe(ctx, c.Event)
	}
	return err
}

// count counts a stored item.
func (c *call) count(j judged) {
	switch {
	case j.plaintext():
		c.Plaintext++
	case j.authentic():
		c.Opened++
	}
	if j.key > current {
		c.OpenedByOlder++
	}
}

// read counts the items that a read has found, newest first, and records its
// drops.
func (c *call) read(found []judged) {
	for position, j := range found {
		c.count(j)
		if !readable(j) {
			c.Drops = append(c.Drops, Drop{Position: position, Err: fmt.Errorf("encsession: %w", j.err)})
		}
	}
}
