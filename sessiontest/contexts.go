package sessiontest

import (
	"context"
	"errors"

	"github.com/encsession/encsession"
)

var cancelledContext = check{
	name: "cancelled-context",
	rule: "With a cancelled context every method returns an error that wraps context.Canceled, and changes nothing.",
	harm: "What a user has broken off is stored all the same, or cannot be told from a failure of the database.",
	run: func(t *tester) {
		s := t.fresh()
		stored := s.fill(numbered(1, 3)...)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		want := func(method string, err error) {
			t.Helper()
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s returns %v; want an error that wraps context.Canceled", method, err)
			}
			s.want(stored...)
		}
		_, err := s.GetItems(ctx, 0)
		want("GetItems", err)
		want("AddItems", s.AddItems(ctx, numbered(4, 5)...))
		_, err = s.PopItem(ctx)
		want("PopItem", err)
		want("ClearSession", s.ClearSession(ctx))
		if s.isReplacer() {
			_, err = s.Session.(encsession.Replacer).ReplaceItems(ctx, stored[:2], []encsession.Item{stored[2], nil})
			want("ReplaceItems", err)
		}
	},
}
