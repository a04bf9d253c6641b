package fleet

import (
	"context"
	"iter"

	"github.com/encsession/encsession"
)

// Audit reports on all sessions, and changes nothing. Each [Result] has the
// report of its session, as [encsession.EncryptedSession.Audit] returns it, and
// Summary.Report has their sum. Items that are undecryptable, malformed or not
// encrypted are findings, not errors.
//
// A key may be retired if its count in Summary.Report.Keys is 0, no session has
// failed, nothing is undecryptable, and no writer uses the key any more. If the
// listing is divided by [WithShard], this must hold in every shard. Look at
// Summary.Sessions too: an audit of the wrong database finds nothing at all.
func Audit(ctx context.Context, sessions iter.Seq2[encsession.SessionInfo, error], open OpenFunc, opts ...Option) (Summary, error) {
	o, err := newOperation(ctx, "Audit", sessions, open, opts)
	if err != nil {
		return Summary{}, err
	}
	t, stop := o.run(ctx, audit, o.told)
	return t.summary(), join(o.name, t.errors(stop))
}

// audit is the work of Audit on one session.
func audit(ctx context.Context, session *encsession.EncryptedSession, r *Result) (err error) {
	if r.Report, err = session.Audit(ctx); err != nil {
		return err
	}
	r.Skipped = encsession.SkippedError{
		Undecryptable: r.Report.Undecryptable,
		Malformed:     r.Report.Malformed,
		Plaintext:     r.Report.Plaintext,
	}
	return nil
}
