package sessiontest

import (
	"context"
	"errors"
	"strings"

	"github.com/encsession/encsession"
)

var listed = check{
	name: "listed",
	rule: "The listing has the ID of each session that holds items, once and unaltered, and of none that was cleared.",
	harm: "An operation over all sessions leaves one under the old key, or works on one that does not exist.",
	run: func(t *tester) {
		t.needsSessions()
		held := t.heldSessions(marked)
		if len(held) == 0 {
			t.Fatal("the store refuses all session IDs")
		}
		stem := held[0].id[:len(held[0].id)-1] // all but a few of them contain it
		popped, cleared := t.fresh(), t.fresh()
		for _, s := range []handle{popped, cleared} {
			s.add(numbered(1, 1)...)
		}
		popped.pop()
		cleared.clear()
		never := t.fresh()
		never.want()

		found := map[string]int{}
		for id := range t.listedIDs() {
			found[id]++
		}
		for _, s := range held {
			if found[s.id] != 1 {
				t.Errorf("the listing has the session ID %.80q %d times; want 1", s.id, found[s.id])
			}
			delete(found, s.id)
		}
		if found[popped.id] > 1 {
			t.Errorf("the listing has a session whose items have been popped %d times", found[popped.id])
		}
		if found[cleared.id] > 0 {
			t.Error("the listing has a session that was cleared")
		}
		if found[never.id] > 0 {
			t.Error("the listing has a session that nobody has written to")
		}
		for id := range found {
			// Sessions without the stem belong to other tests.
			if strings.Contains(strings.ToLower(id), stem) {
				t.Errorf("the listing has the session ID %.80q, which is not that of a session with items", id)
			}
		}
		for _, s := range held {
			s.clear()
		}
	},
}

var listedDuringUse = check{
	name: "listed-during-use",
	rule: "A listing holds no lock and no connection between two sessions, and can be left early.",
	harm: "An operation over all sessions waits for itself for ever.",
	run: func(t *tester) {
		t.needsSessions()
		n := numbered(1, 2)
		mine := map[string]handle{}
		for range 5 {
			s := t.fresh()
			s.add(n[0])
			mine[s.id] = s
		}
		for range 2 { // the second time follows a listing that was left early
			seen := 0
			for id := range t.listedIDs() {
				if s, ok := mine[id]; ok {
					s.want(n[0])
					s.add(n[1])
					s.wantPop(n[1])
					if seen++; seen == 3 {
						break
					}
				}
			}
			if seen != 3 {
				t.Fatalf("the listing has %d of %d sessions", seen, len(mine))
			}
		}
	},
}

var listedCancelled = check{
	name: "listed-cancelled",
	rule: "With a context that is done the listing has no session but the error of the context, and ends.",
	harm: "An operation over all sessions that was broken off says that it is complete.",
	run: func(t *tester) {
		t.needsSessions()
		for range 2 {
			t.fresh().add(numbered(1, 1)...)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		errs := 0
		for info, err := range t.sessions(ctx) {
			if errs++; info != (encsession.SessionInfo{}) || !errors.Is(err, context.Canceled) || errs > 1 {
				t.Fatalf("the listing has %+v, %v; want one error that wraps %q", info, err, context.Canceled)
			}
		}
		if errs == 0 {
			t.Fatal("the listing ends without an error")
		}
	},
}

// needsSessions skips the check if the store cannot list its sessions.
func (t *tester) needsSessions() {
	if t.sessions == nil {
		t.Skip("Run was not given WithSessions")
	}
}

// listedIDs goes through the IDs that the store lists. It ends the check if
// there is an error.
func (t *tester) listedIDs() func(yield func(id string) bool) {
	return func(yield func(string) bool) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for info, err := range t.sessions(ctx) {
			if err != nil {
				t.Fatalf("listing the sessions: %v", err)
			}
			if !yield(info.ID) {
				return
			}
		}
	}
}
