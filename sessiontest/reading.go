package sessiontest

import (
	"math"
	"slices"
)

var sessionIDs = check{
	name: "session-id",
	rule: "SessionID returns the ID that the session was opened with, and never another one.",
	harm: "A decorator derives its key from the ID: under another ID it can no longer read the history.",
	run: func(t *tester) {
		want := func(s handle) {
			t.Helper()
			if got := s.SessionID(); got != s.id {
				t.Errorf("SessionID is %q; want %q", got, s.id)
			}
		}
		for _, id := range mergeableIDs() {
			want(t.session(id)) // even if the store cannot hold it
		}
		s := t.fresh()
		want(s)
		s.add(numbered(1, 2)...)
		want(s)
		s.clear()
		want(s)
	},
}

var order = check{
	name: "order",
	rule: "GetItems returns items in the order in which they were added, within one call and over several.",
	harm: "The model reads answers before their questions, and a tool's output before the call that asked for it.",
	run: func(t *tester) {
		n := numbered(0, 9)
		s := t.fresh()
		s.add(n[7], n[2], n[9])
		s.add(n[4])
		s.add(n[8], n[1])
		s.want(n[7], n[2], n[9], n[4], n[8], n[1])
	},
}

var limits = check{
	name: "limits",
	rule: "GetItems returns the newest limit items, oldest first, and all of them if limit is 0 or less.",
	harm: "An agent that reads its last few messages goes on from the wrong ones, or from none.",
	run: func(t *tester) {
		all := numbered(1, 9)
		s := t.fresh()
		s.add(all...)
		for _, limit := range []int{0, -1, math.MinInt} {
			s.wantNewest(limit, all...)
		}
		for _, limit := range []int{1, 2, 8, 9, 10, 1_000_000, math.MaxInt} {
			s.wantNewest(limit, all[len(all)-min(limit, len(all)):]...)
		}
	},
}

var noCap = check{
	name: "no-cap",
	rule: "GetItems returns fewer items than limit only when there are no more.",
	harm: "A long conversation silently loses its beginning, or what a decorator takes for all of it is a part.",
	run: func(t *tester) {
		all := numbered(1, 2_500)
		s := t.fresh()
		s.add(all...)
		s.want(all...)
		s.wantNewest(2_400, all[100:]...)
		s.add(all[:500]...)
		s.want(slices.Concat(all, all[:500])...)
	},
}

var emptySession = check{
	name: "empty-session",
	rule: "A session without items gives no items and no error, from GetItems, PopItem and ClearSession alike.",
	harm: "Every new conversation begins with an error.",
	run: func(t *tester) {
		// First nobody has written to the session yet; then it has been
		// cleared.
		s := t.fresh()
		for range 2 {
			s.wantNewest(0)
			s.wantNewest(5)
			s.wantPop(nil)
			s.clear()
			s.wantNewest(0)
			s.add(numbered(1, 3)...)
			s.clear()
		}
	},
}

var handles = check{
	name: "handles",
	rule: "All handles on a session have one history.",
	harm: "The next request, served by another process, does not know what was said in the one before.",
	run: func(t *tester) {
		n := numbered(0, 4)
		one := t.fresh()
		two := one.again()
		two.want()
		one.add(n[1])
		two.want(n[1])
		two.add(n[2], n[3])
		one.want(n[1], n[2], n[3])
		one.pop()
		two.want(n[1], n[2])
		one.again().want(n[1], n[2])
		two.clear()
		one.want()
		one.add(n[4])
		two.want(n[4])
	},
}
