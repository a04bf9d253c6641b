package fleet

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/encsession/encsession"
)

// ClearIdle removes all items of every session that has been idle for longer
// than idle: whole seconds, at least one. The idle time of a session begins
// when its newest authentic item was sealed, whatever the TTL. The times in the
// listing do not count, since whoever can write to the store can change them. A
// session without an authentic item is never cleared.
//
// Items that no key opens have no age that can be trusted: undecryptable and
// malformed ones, and those that are not encrypted, with or without
// WithPlaintext. Any of them may be newer than idle. If a session holds such
// items, and no authentic item newer than idle, ClearIdle leaves the session
// whole. The error then holds a [*encsession.SkippedError] that counts these
// items.
//
// ClearIdle audits a session and, if it is idle, purges it by the same age. It
// does not call ClearSession, so an item that arrives meanwhile stays, and so
// does everything else that was sealed within that age. The older items of that
// session are removed even so: this race remains, for the time of one Purge.
// The entry of the session in the listing of the store may stay, without items.
func ClearIdle(ctx context.Context, sessions iter.Seq2[encsession.SessionInfo, error], open OpenFunc, idle time.Duration, opts ...Option) (Summary, error) {
	o, err := newOperation(ctx, "ClearIdle", sessions, open, opts)
	if err != nil {
		return Summary{}, err
	}
	if idle < time.Second || idle%time.Second != 0 {
		return Summary{}, join(o.name, []error{fmt.Errorf("idle time of %v is not whole seconds, at least one", idle)})
	}
	return o.change(ctx, func(ctx context.Context, session *encsession.EncryptedSession, r *Result) error {
		report, err := session.Audit(ctx)
		if err != nil || report.Items == 0 || time.Now().Unix()-report.Newest.Unix() <= int64(idle/time.Second) {
			return err
		}
		// Authentic items that are malformed have an age, and can be judged.
		unjudged := encsession.SkippedError{Undecryptable: report.Undecryptable, Plaintext: report.Plaintext}
		unjudged.Malformed = report.Items - authentic(report) - report.Undecryptable - report.Plaintext
		if unjudged != (encsession.SkippedError{}) {
			return &unjudged
		}
		r.Changed, err = session.Purge(ctx, idle)
		return err
	})
}
