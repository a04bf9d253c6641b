package sessiontest

import (
	"slices"

	"github.com/encsession/encsession"
)

var addNothing = check{
	name: "add-nothing",
	rule: "AddItems without items is no error and changes nothing.",
	harm: "A turn of an agent that brings nothing new fails, or leaves an item that nobody wrote.",
	run: func(t *tester) {
		s := t.fresh()
		s.add()
		s.want()
		n := numbered(1, 2)
		s.add(n...)
		s.add()
		s.want(n...)
	},
}

// notJSON returns texts that no store may take for an item. The empty one is
// not nil, because nil has a meaning for RewriteItems.
func notJSON() []encsession.Item {
	return []encsession.Item{
		[]byte(`{"cut":`),
		{},
		[]byte("text"),
		[]byte(`{"not a number in JSON":NaN}`),
		[]byte(`{"two":1} {"values":2}`),
	}
}

var allOrNothing = check{
	name: "all-or-nothing",
	rule: "AddItems adds all items or, with an error, none; an item that is not JSON is an error.",
	harm: "A tool call is stored without its output, which the model's API refuses for as long as the session lives.",
	run: func(t *tester) {
		n := numbered(1, 5)
		s := t.fresh()
		s.add(n...)
		batch := numbered(6, 8)
		for _, bad := range notJSON() {
			for at := range len(batch) + 1 {
				s.wantRefused(n, slices.Insert(slices.Clone(batch), at, bad)...)
			}
			s.wantRefused(n, bad)
		}
		// Many stores have to send so many items to the database in several
		// steps.
		s.wantRefused(n, append(numbered(6, 1_200), notJSON()[0])...)
		s.add(batch...)
		s.want(append(n, batch...)...)
	},
}

// wantRefused ends the check unless AddItems refuses these items and changes
// nothing.
func (h handle) wantRefused(before []encsession.Item, items ...encsession.Item) {
	h.t.Helper()
	if h.tryAdd(items...) == nil {
		h.t.Fatalf("AddItems takes an item that is not JSON, among these: %.300q", items)
	}
	h.want(before...)
}

var equalItems = check{
	name: "equal-json",
	rule: "Items come back as JSON equal to what was added; the value of a number does not change.",
	harm: "A tool is called with another number than the model chose, or a text is no longer what the user wrote.",
	run: func(t *tester) {
		items := trickyItems()
		s := t.fresh()
		for _, item := range items {
			if err := s.tryAdd(item); err != nil {
				t.Fatalf("AddItems refuses %s: %v", show(item), err)
			}
		}
		s.want(items...)
		for _, item := range slices.Backward(items) {
			s.wantPop(item)
		}
	},
}

var duplicates = check{
	name: "duplicates",
	rule: "Equal items are separate items, and all of them are kept.",
	harm: `A user who says "yes" twice has said it once.`,
	run: func(t *tester) {
		yes := object("user", "yes")
		n := numbered(1, 1)
		s := t.fresh()
		s.add(yes, yes)
		s.add(n...)
		s.add(yes)
		s.want(yes, yes, n[0], yes)
		s.wantPop(yes)
		s.want(yes, yes, n[0])
	},
}
