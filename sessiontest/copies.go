package sessiontest

import (
	"bytes"

	"github.com/encsession/encsession"
)

var inputCopied = check{
	name: "input-copied",
	rule: "Slices that are passed to AddItems are not changed, and not kept after it returns.",
	harm: "A caller that uses its buffer again changes what was said before.",
	run: func(t *tester) {
		n := numbered(1, 3)
		s := t.fresh()
		batch := cloneAll(n)
		s.must("AddItems", s.AddItems(t.Context(), batch...))
		t.wantSame("AddItems changed its arguments", batch, n)
		scribble(batch)
		s.want(n...)
		s.wantPop(n[2])
	},
}

var outputCopied = check{
	name: "output-copied",
	rule: "Slices that GetItems and PopItem return belong to the caller, who may change them.",
	harm: "A caller that edits a message for display edits the history, or another caller's copy of it.",
	run: func(t *tester) {
		n := numbered(1, 4)
		s := t.fresh()
		s.add(n...)
		kept, before := s.items(0), s.items(0)
		scribble(s.items(0))
		scribble(s.items(2))
		s.want(n...)
		popped := s.pop()
		scribble([]encsession.Item{popped})
		s.want(n[:3]...)
		s.add(n[3])
		s.want(n...)
		t.wantSame("what GetItems returned is no longer what it was", kept, before)
		s.wantEqual("GetItems", kept, n)
	},
}

// wantSame ends the check unless the items are the same bytes.
func (t *tester) wantSame(otherwise string, got, want []encsession.Item) {
	t.Helper()
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("%s: item %d is %s, and was %s", otherwise, i, show(got[i]), show(want[i]))
		}
	}
}

func cloneAll(items []encsession.Item) []encsession.Item {
	clones := make([]encsession.Item, len(items))
	for i, item := range items {
		clones[i] = bytes.Clone(item)
	}
	return clones
}

// scribble overwrites everything that can be reached through a slice of items,
// including the spare capacity behind each.
func scribble(items []encsession.Item) {
	items = items[:cap(items)]
	for i, item := range items {
		item = item[:cap(item)]
		for j := range item {
			item[j] = '!'
		}
		items[i] = encsession.Item("scribbled over")
	}
}
