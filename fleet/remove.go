package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/encsession/encsession"
)

// Purge runs [encsession.EncryptedSession.Purge] in every session: it removes
// every authentic item that was sealed longer ago than age, whatever the TTL.
// Age is in whole seconds, 0 or more.
func Purge(ctx context.Context, sessions iter.Seq2[encsession.SessionInfo, error], open OpenFunc, age time.Duration, opts ...Option) (Summary, error) {
	o, err := newOperation(ctx, "Purge", sessions, open, opts)
	if err != nil {
		return Summary{}, err
	}
	if age < 0 || age%time.Second != 0 {
		return Summary{}, join(o.name, []error{fmt.Errorf("age of %v is not whole seconds, 0 or more", age)})
	}
	return o.change(ctx, func(ctx context.Context, session *encsession.EncryptedSession, r *Result) (err error) {
		r.Changed, err = session.Purge(ctx, age)
		return err
	})
}

// DeleteItems runs [encsession.EncryptedSession.DeleteItems] in every session:
// it removes every item for which match returns true. It is for erasure, such
// as "everything that this person said". If there are items that match did not
// see, the error holds a [*encsession.SkippedError]: the erasure is not
// complete.
//
// With several workers, match is called for several sessions at the same time.
// An empty listing is no error: look at Summary.Sessions.
func DeleteItems(ctx context.Context, sessions iter.Seq2[encsession.SessionInfo, error], open OpenFunc, match func(sessionID string, item encsession.Item) bool, opts ...Option) (Summary, error) {
	o, err := newOperation(ctx, "DeleteItems", sessions, open, opts)
	if err != nil {
		return Summary{}, err
	}
	if match == nil {
		return Summary{}, join(o.name, []error{errors.New("match is nil")})
	}
	return o.change(ctx, func(ctx context.Context, session *encsession.EncryptedSession, r *Result) (err error) {
		r.Changed, err = session.DeleteItems(ctx, func(item encsession.Item) bool { return match(r.Session.ID, item) })
		return err
	})
}
