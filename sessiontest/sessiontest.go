// Package sessiontest checks stores that implement encsession.Session, and decorators that encrypt one.
//
//	func TestStore(t *testing.T) {
//		sessiontest.Run(t, func(t *testing.T, sessionID string) encsession.Session {
//			return store.Session(sessionID)
//		})
//	}
//
// Each check is a subtest with a name of its own. One that fails says which rule of the interface it checks, and
// what breaking that rule does to a user.
//
// The function must open the same session for the same ID: a store in memory has to remember its sessions. One that is
// new and empty each time fails in handles, and in all other checks that open a session twice.
//
// A store whose RewriteItems is misspelt, or has another signature, is no
// [encsession.Rewriter]: the rewrite checks are then skipped, and nothing fails.
// If the store is to be one, have the compiler say so:
//
//	var _ encsession.Rewriter = (*Store)(nil)
//
// Some rules can only be checked with a function of the store's author. Give
// [WithReopen] if the store keeps items beyond the process, [WithSessions] if it
// can list its sessions, and [WithExpiry] if sessions expire there by
// themselves. The checks of an option that is not given are skipped.
//
// The checks write to sessions with random IDs, nearly all of which begin with "sessiontest-", so that the suite
// can run many times against one database. They leave items behind there.
package sessiontest

import (
	"testing"

	"github.com/encsession/encsession"
)

// Run checks a store, or a decorator as a store. It calls open for a handle on the
// session with the given ID; called again with the same ID, open must return
// another handle on the same session. It is only called by the goroutine of the
// test that it is given, and so are the functions of the options.
//
// The rewrite checks are skipped if a session is not an [encsession.Rewriter], or
// if RewriteItems returns an error that wraps [errors.ErrUnsupported] before it
// calls edit. One of them waits for a second, and is skipped by go test -short.
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

// RunEncrypted checks that a decorator which encrypts keeps its secrets from the store underneath: it plants marked
// items through every method and looks for them in what the store holds. It also alters what the store holds, and looks
// for what comes of that. It does not check the decorator as a store; that is what Run is for.
//
// To pass is no proof of good encryption: RunEncrypted finds what is left open, not what is weak.
//
// The decorator must refuse items that are not encrypted, as EncryptedSession does without WithPlaintext: an altered
// item may look like one.
//
// It calls open for a decorator and the store under it, both for the session with the given ID. Called again with
// the same ID, open must return handles on the same session.
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
	rule string // of encsession.Session or encsession.Rewriter, or of an option
	harm string // what breaking the rule does to a user
	run  func(t *tester)
}

// start runs the check. It takes a testing.TB so that the suite can be tested with stores that must fail.
func (c check) start(t testing.TB, s subject) {
	defer func() {
		if t.Failed() {
			t.Logf("The rule: %s\nWhat breaking it does: %s", c.rule, c.harm)
		}
	}()
	c.run(&tester{TB: t, subject: s, check: c.name})
}
