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
// A store whose ReplaceItems is misspelt, or has another signature, is no encsession.Replacer: the checks of that are
// skipped then, and nothing fails. If it is to be one, have the compiler say so:
//
//	var _ encsession.Replacer = (*Store)(nil)
//
// The checks write to sessions with random IDs, nearly all of which begin with "sessiontest-", so that the suite
// can run many times against one database. They leave items behind there.
package sessiontest

import (
	"testing"

	"github.com/encsession/encsession"
)

// Run checks a store. It calls open for a handle on the session with the given ID; called again with the same ID,
// open must return another handle on the same session. It is only called by the goroutine of the test that it is
// given.
//
// The checks of encsession.Replacer are skipped where a session does not implement it, and where it answers
// ReplaceItems(ctx, nil, nil) with an error that wraps errors.ErrUnsupported.
func Run(t *testing.T, open func(t *testing.T, sessionID string) encsession.Session) {
	for _, c := range sessionChecks {
		t.Run(c.name, func(t *testing.T) {
			c.start(t, func(id string) (session, store encsession.Session) { return open(t, id), nil })
		})
	}
}

// RunEncrypted checks that a decorator which encrypts keeps its secrets from the store underneath: it plants marked
// items through every method and looks for them in what the store holds. It also alters what the store holds, and looks
// for what comes of that. It does not check the decorator as a store; that is what Run is for.
//
// To pass is no proof of good encryption: RunEncrypted finds what is left open, not what is weak.
//
// The decorator must refuse items that are not encrypted, as EncryptedSession does under WithoutPlaintext: an altered
// item may look like one.
//
// It calls open for a decorator and the store under it, both for the session with the given ID. Called again with
// the same ID, open must return handles on the same session.
func RunEncrypted(t *testing.T, open func(t *testing.T, sessionID string) (decorator, store encsession.Session)) {
	for _, c := range encryptedChecks {
		t.Run(c.name, func(t *testing.T) {
			c.start(t, func(id string) (session, store encsession.Session) { return open(t, id) })
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

	replaceInPlace,
	replaceRemoves,
	replaceUnmatched,
	replaceNewest,
	replaceSnapshot,
	replaceBytes,
	replaceAllOrNothing,
	replaceMany,
	replaceCopied,
	replaceIsolated,
	replaceConcurrent,
	replaceMix,
}

var encryptedChecks = []check{
	addHides,
	replaceHides,
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
	rule string // of encsession.Session or encsession.Replacer
	harm string // what breaking the rule does to a user
	run  func(t *tester)
}

// start runs the check. It takes a testing.TB so that the suite can be tested with stores that must fail.
func (c check) start(t testing.TB, open opener) {
	defer func() {
		if t.Failed() {
			t.Logf("The rule: %s\nWhat breaking it does: %s", c.rule, c.harm)
		}
	}()
	c.run(&tester{TB: t, check: c.name, open: open})
}
