// Package sessiontest checks stores that implement [encsession.Session], and
// decorators that encrypt such a store.
//
//	func TestStore(t *testing.T) {
//		sessiontest.Run(t, func(t *testing.T, sessionID string) encsession.Session {
//			return store.Session(sessionID)
//		})
//	}
//
// Each check is a subtest with a name of its own. If a check fails, it says
// which rule of the interface it checks, and how breaking that rule hurts a
// user.
//
// The function given to [Run] must open the same session for the same ID: a
// store in memory has to remember its sessions. If each session is new and
// empty, the check "handles" fails, and so do all others that open a session
// twice.
//
// A store whose RewriteItems is misspelt, or has another signature, is not an
// [encsession.Rewriter]. The rewrite checks are then skipped, and nothing
// fails. If the store is meant to be one, let the compiler say so:
//
//	var _ encsession.Rewriter = (*Store)(nil)
//
// Some rules can only be checked with a function from the author of the store.
// Give [WithReopen] if the store keeps items beyond the process. Give
// [WithSessions] if it can list its sessions, and [WithExpiry] if its sessions
// expire by themselves. If an option is not given, its checks are skipped.
//
// The checks write to sessions with random IDs, nearly all of which begin with
// "sessiontest-". The suite can therefore run many times against one database.
// It leaves items behind there.
package sessiontest

import (
	"testing"

	"github.com/encsession/encsession"
)

// Run checks a store, or a decorator as if it were a store. It calls open for a
// handle on the session with the given ID. If it calls open again with the same
// ID, open must return another handle on the same session. Only the goroutine
// of the given test calls open and the functions of the options.
//
// The rewrite checks are skipped if a session is not an [encsession.Rewriter].
// They are also skipped if RewriteItems returns an error that wraps
// [errors.ErrUnsupported] before it calls edit. One of them waits for a second,
// and is skipped by go test -short.
func Run(t *testing.T, open func(t *testing.T, sessionID string) encsession.Session, opts ...Option) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	for _, c := range sessionChecks {
		t.Run(c.name, func(t *testing.T) {
			s := o.subject(t)
			s.open = func(id string) (session, store encsession.Session) { return open(t, id), nil }
			c.start(t, s)
		})
	}
}

// RunEncrypted checks that an encrypting decorator keeps its secrets from the
// store underneath. It plants marked items through every method, and looks for
// them in the items of the store. It also alters the items of the store, and
// checks that the decorator returns nothing that was not added. It does not
// check the decorator as a store; use [Run] for that.
//
// Passing is no proof of good encryption: RunEncrypted finds missing
// protection, not weak protection.
//
// The decorator must refuse items that are not encrypted, as
// [encsession.EncryptedSession] does without [encsession.WithPlaintext]. An
// altered item may look like one of those.
//
// RunEncrypted calls open for a decorator and the store under it, both for the
// session with the given ID. If it calls open again with the same ID, open must
// return handles on the same session.
func RunEncrypted(t *testing.T, open func(t *testing.T, sessionID string) (decorator, store encsession.Session)) {
	for _, c := range encryptedChecks {
		t.Run(c.name, func(t *testing.T) {
			c.start(t, subject{open: func(id string) (session, store encsession.Session) { return open(t, id) }})
		})
	}
}

var sessionChecks = []check{
	sessionIDs,
	order,
	limits,
	noCap,
	addNothing,
	allOrNothing,
	equalItems,
	duplicates,
	inputCopied,
	outputCopied,
	emptySession,
	popOrder,
	clearing,
	handles,
	isolation,
	cancelledContext,
	concurrentAdds,
	concurrentPops,
	concurrentMix,

	rewriteUnsupported,
	rewriteOrder,
	rewriteAdded,
	rewriteGone,
	rewriteFirst,
	rewriteBatches,
	rewriteLeaves,
	rewriteInPlace,
	rewriteKeepsTime,
	rewriteRemoves,
	rewriteRefuses,
	rewritePartial,
	rewriteSwaps,
	rewriteRows,
	rewriteBytes,
	rewriteAtomic,
	rewriteUnlocked,
	rewriteGoroutine,
	rewriteOnce,
	rewriteMore,
	rewriteContext,
	rewriteEmpty,
	rewriteCopied,
	rewriteIsolated,
	rewriteConcurrent,
	rewriteMix,

	reopened,
	listed,
	listedDuringUse,
	listedCancelled,
	expired,
}

var encryptedChecks = []check{
	addHides,
	rewriteHides,
	errorsHide,
	printingHides,
	equalItemsDiffer,
	movedItemUnreadable,
	alteredItems,
	oneForOne,
	popRemoves,
	clearEmpties,
}

// check is one rule and the test of it.
type check struct {
	name string // of the subtest
	rule string // of encsession.Session, of encsession.Rewriter or of an option
	harm string // how breaking the rule hurts a user
	run  func(t *tester)
}

// start runs the check. It takes a testing.TB so that the suite can be tested
// with stores that must fail.
func (c check) start(t testing.TB, s subject) {
	defer func() {
		if t.Failed() {
			t.Logf("The rule: %s\nWhat breaking it does: %s", c.rule, c.harm)
		}
	}()
	c.run(&tester{TB: t, subject: s, check: c.name})
}
