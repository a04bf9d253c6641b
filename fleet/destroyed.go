package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/encsession/encsession"
)

// ClearDestroyed clears every session whose key was destroyed on purpose: its
// [encsession.KeySource] returns an error that wraps
// [encsession.ErrKeyDestroyed]. Nobody can read the items of such a session any
// more, and afterwards none of them remains in the store. The other sessions
// stay as they are.
//
// The field Changed of a [Result] counts the stored items of a session that was
// cleared, encrypted or not. If the [OpenFunc] itself returns the
// ErrKeyDestroyed, the session is not cleared, only counted as erased.
//
// A process that has the key in memory can still add to a session. So first
// wait until no process has it: package keystore tells when, by the field
// Erased of a TenantInfo.
func ClearDestroyed(ctx context.Context, sessions iter.Seq2[encsession.SessionInfo, error], open OpenFunc, opts ...Option) (Summary, error) {
	o, err := newOperation(ctx, "ClearDestroyed", sessions, open, opts)
	if err != nil {
		return Summary{}, err
	}
	return o.change(ctx, func(ctx context.Context, session *encsession.EncryptedSession, r *Result) error {
		if err := probe(ctx, session); !errors.Is(err, encsession.ErrKeyDestroyed) {
			return err
		}
		if id := session.Unwrap().SessionID(); id != r.Session.ID {
			return fmt.Errorf("its store has another session ID, %q, so nothing was cleared", id)
		}
		stored, err := session.Unwrap().GetItems(ctx, 0)
		if err != nil {
			return err
		}
		if err := session.ClearSession(ctx); err != nil {
			return err
		}
		r.Changed = len(stored)
		return nil
	})
}

// probe asks for the keys of a session, by a pass that changes nothing and
// reports no drops to observers. If the store is not a Rewriter, it reads an
// item instead. Items that cannot be read are no error here.
func probe(ctx context.Context, session *encsession.EncryptedSession) error {
	_, err := session.RewriteItems(ctx, 1, func([]encsession.Item) ([]encsession.Item, bool) { return nil, false })
	if errors.Is(err, errors.ErrUnsupported) {
		_, err = session.GetItems(ctx, 1)
	}
	for _, unread := range []error{encsession.ErrFuture, encsession.ErrUndecryptable, encsession.ErrMalformed, encsession.ErrPlaintext} {
		if errors.Is(err, unread) { // under WithStrictReads
			return nil
		}
	}
	return err
}
