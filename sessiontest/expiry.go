package sessiontest

import (
	"slices"

	"github.com/encsession/encsession"
)

var expired = check{
	name: "expired",
	rule: "A session that has expired in the store is empty for every method, and can be used again.",
	harm: "Expired items are read, popped or rewritten, or come back with the next message.",
	run: func(t *tester) {
		if t.expire == nil {
			t.Skip("Run was not given WithExpiry")
		}
		n := numbered(0, 9)
		canRewrite := t.fresh().isRewriter()
		s := map[string]handle{}
		for _, method := range []string{"GetItems", "PopItem", "AddItems", "ClearSession", "RewriteItems"} {
			s[method] = t.fresh()
			s[method].add(n[1:4]...)
			s[method].want(n[1:4]...)
		}
		t.expire()
		s["GetItems"].want()
		s["PopItem"].wantPop(nil)
		s["AddItems"].add(n[4])
		s["AddItems"].want(n[4])
		s["ClearSession"].clear()
		if canRewrite {
			var seen batches
			s["RewriteItems"].rewrite(0, 3, seen.of(editing(func(encsession.Item) encsession.Item { return n[9] })))
			seen.want(s["RewriteItems"], nil)
		}
		for method, s := range s {
			if method != "AddItems" {
				s.want()
				s.add(n[4])
			}
			s.want(n[4])
			s.add(n[5])
			s.want(n[4], n[5])
		}
		if canRewrite { // items that expire while edit runs stay gone
			r := s["RewriteItems"]
			r.rewrite(0, 2, func(stored []encsession.Item) ([]encsession.Item, bool) {
				t.expire()
				return slices.Repeat([]encsession.Item{n[9]}, len(stored)), true
			})
			r.want()
		}
	},
}
