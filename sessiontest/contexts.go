package sessiontest

import (
	"context"
	"errors"
	"time"

	"github.com/encsession/encsession"
)

var cancelledContext = check{
	name: "cancelled-context",
	rule: "With a context that is cancelled or over its deadline every method returns its error, and changes nothing.",
	harm: "What a user has broken off is stored all the same, or cannot be told from a failure of the database.",
	run: func(t *tester) {
		s := t.fresh()
		stored := numbered(1, 3)
		s.add(stored...)
		rewriter, _ := s.Session.(encsession.Rewriter)
		if probe := t.fresh(); !probe.isRewriter() {
			rewriter = nil
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		for _, ctx := range []context.Context{cancelled, late} {
			want := func(method string, err error) {
				t.Helper()
				if !errors.Is(err, ctx.Err()) {
					t.Errorf("%s returns %v; want an error that wraps that of its context, %q", method, err, ctx.Err())
				}
				s.want(stored...)
			}
			_, err := s.GetItems(ctx, 0)
			want("GetItems", err)
			want("AddItems", s.AddItems(ctx, numbered(4, 5)...))
			_, err = s.PopItem(ctx)
			want("PopItem", err)
			want("ClearSession", s.ClearSession(ctx))
			if rewriter != nil {
				_, err = rewriter.RewriteItems(ctx, 1, func([]encsession.Item) ([]encsession.Item, bool) {
					t.Error("RewriteItems calls edit")
					return nil, true
				})
				want("RewriteItems", err)
			}
		}
	},
}
