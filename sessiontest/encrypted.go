package sessiontest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/encsession/encsession"
)

var addHides = check{
	name: "add-hides",
	rule: "Nothing of an item that is added can be read in the store, in whatever part of the item it is.",
	harm: "Anyone who sees the database, or a backup of it, reads what users told the agent.",
	run: func(t *tester) {
		s, secret := t.fresh(), newSecret()
		var added []encsession.Item
		for _, item := range secret.items() {
			s.add(item)
			added = append(added, item)
			s.wantHidden(secret)
		}
		s.add(secret.items()...)
		added = append(added, secret.items()...)
		s.wantHidden(secret)
		s.want(added...)
		s.wantHidden(secret) // reading puts nothing there either
	},
}

var rewriteHides = check{
	name: "rewrite-hides",
	rule: "Edit sees what was added, and nothing of an item that it returns can be read in the store.",
	harm: "A decorator that only passes RewriteItems on shows envelopes to edit, and writes its items as they are.",
	run: func(t *tester) {
		s, secret := t.freshRewriter(), newSecret()
		for _, item := range secret.items() {
			before := []encsession.Item{object("nothing", "to hide"), object("nor", "here")}
			s.add(before...)
			var seen batches
			s.rewrite(1, 2, seen.of(exchanging(before[0], item)))
			seen.want(s, before)
			s.wantHidden(secret)
			s.wantStored(2)
			s.want(item, before[1])
			s.exchange(1, item, nil)
			s.wantHidden(secret)
			s.wantStored(1)
			s.clear()
		}
	},
}

var errorsHide = check{
	name: "errors-hide",
	rule: "An item that is refused, or not stored for another reason, is neither in the store nor in the error.",
	harm: "What a user wrote ends up in the logs.",
	run: func(t *tester) {
		s, secret := t.fresh(), newSecret()
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		s.add(object("nothing", "to hide"))
		probe := t.fresh()
		canRewrite := probe.isRewriter()
		for _, bad := range secret.badItems() {
			t.wantNoTrace(secret, "the error of AddItems", s.tryAdd(bad))
			t.wantNoTrace(secret, "the error of AddItems", s.tryAdd(append(secret.items(), bad)...))
			t.wantNoTrace(secret, "the error of AddItems with a cancelled context", s.AddItems(cancelled, secret.items()...))
			s.wantHidden(secret)
			if canRewrite {
				for _, new := range [][]encsession.Item{{bad}, append(secret.items(), bad)} {
					_, err := s.tryRewrite(1, func([]encsession.Item) ([]encsession.Item, bool) { return new, true })
					t.wantNoTrace(secret, "the error of RewriteItems", err)
				}
				s.wantHidden(secret)
			}
		}
	},
}

var printingHides = check{
	name: "printing-hides",
	rule: "A decorator shows nothing of its items, however it is printed.",
	harm: "A decorator that is logged, perhaps as a field of something larger, takes the conversation along.",
	run: func(t *tester) {
		s, secret := t.fresh(), newSecret()
		s.add(secret.items()...)
		t.wantNoTrace(secret, "the decorator", s.Session)
		s.want(secret.items()...)
		t.wantNoTrace(secret, "the decorator", s.Session)
		t.wantNoTrace(secret, "the decorator in a struct", struct{ session encsession.Session }{s.Session})
		s.pop()
		t.wantNoTrace(secret, "the decorator", s.Session)
	},
}

var equalItemsDiffer = check{
	name: "equal-items-differ",
	rule: "Equal items are stored as different bytes, in one session as in two.",
	harm: "Anyone who sees the database sees who said the same thing, and can guess short answers by comparing them.",
	run: func(t *tester) {
		item := object("user", "yes")
		s := t.fresh()
		s.add(item, item)
		s.add(item)
		other := t.fresh()
		other.add(item)
		seen := map[string]bool{}
		for _, stored := range append(s.raw().items(0), other.raw().items(0)...) {
			if seen[string(stored)] {
				t.Fatalf("two equal items are stored as the same bytes, %s", show(stored))
			}
			seen[string(stored)] = true
		}
	},
}

var movedItemUnreadable = check{
	name: "moved-item-unreadable",
	rule: "An item that was stored in one session cannot be read in another.",
	harm: "Anyone who can write to the database copies another user's conversation into their own, and asks the agent for it.",
	run: func(t *tester) {
		from, to, secret := t.fresh(), t.fresh(), newSecret()
		from.add(secret.items()...)
		to.add(object("nothing", "to hide"))
		to.raw().add(from.raw().items(0)...)
		// The decorator may leave out an unreadable item or return an error:
		// both are right.
		items, err := to.tryItems(0)
		t.wantNoTrace(secret, "what GetItems returns in the other session", fmt.Sprintf("%s %v", items, err))
		item, err := to.tryPop()
		t.wantNoTrace(secret, "what PopItem returns in the other session", fmt.Sprintf("%s %v", item, err))
		from.want(secret.items()...)
	},
}

var alteredItems = check{
	name: "altered-items",
	rule: "If an item was altered in the store, a read returns only items that were added, or nothing.",
	harm: "Anyone who can write to the database puts words into the mouth of the user, or of the agent, without knowing the key.",
	run: func(t *tester) {
		s := t.fresh()
		added := []encsession.Item{object("user", "yes"), object("content", strings.Repeat("Pay 100 to Alice. ", 20))}
		s.add(added...)
		want := func(method string, got, altered encsession.Item) {
			t.Helper()
			if !slices.ContainsFunc(added, func(item encsession.Item) bool { return equalJSON(got, item) }) {
				t.Fatalf("%s returns %s, which nobody added, for the altered item %s", method, show(got), show(altered))
			}
		}
		for _, stored := range s.raw().items(0) {
			for _, altered := range alterations(stored) {
				s.raw().clear()
				s.raw().add(altered)
				// The decorator may leave out an item that is not authentic or
				// return an error: both are right.
				items, _ := s.tryItems(0)
				for _, item := range items {
					want("GetItems", item, altered)
				}
				if item, _ := s.tryPop(); item != nil {
					want("PopItem", item, altered)
				}
			}
		}
	},
}

var oneForOne = check{
	name: "one-for-one",
	rule: "The store holds one item for each that was added, in the same order.",
	harm: "A limit no longer counts messages, and other programs that share the store find items that are not theirs.",
	run: func(t *tester) {
		s := t.fresh()
		s.wantStored(0)
		s.add()
		s.wantStored(0)
		s.add(numbered(1, 3)...)
		s.wantStored(3)
		s.add(numbered(4, 4)...)
		s.wantStored(4)
	},
}

var popRemoves = check{
	name: "pop-removes",
	rule: "PopItem removes the newest item from the store, and leaves the others as they are.",
	harm: "What a user has taken back stays in the database.",
	run: func(t *tester) {
		n := numbered(1, 3)
		s := t.fresh()
		s.add(n...)
		before := s.wantStored(3)
		for left := 2; left >= 0; left-- {
			s.wantPop(n[left])
			t.wantSame("PopItem changed another item in the store", s.wantStored(left), before[:left])
		}
		s.wantPop(nil)
		s.wantStored(0)
	},
}

var clearEmpties = check{
	name: "clear-empties",
	rule: "ClearSession leaves nothing of its session in the store, and other sessions as they are.",
	harm: "A conversation that a user has deleted stays in the database.",
	run: func(t *tester) {
		n := numbered(1, 3)
		s, other := t.fresh(), t.fresh()
		s.add(n...)
		other.add(n...)
		s.clear()
		s.wantStored(0)
		other.wantStored(3)
		other.want(n...)
		s.clear()
		s.add(n...)
		s.wantStored(3)
	},
}

// items returns items with the secret in different places, and of different
// sizes.
func (s secret) items() []encsession.Item {
	items := []encsession.Item{
		object("content", s.text),
		object(s.text, "in the name of a member"),
		[]byte(`{"content":[{"type":"text","text":["nested",{"deep":"` + s.text + `"}]}],"role":"user"}`),
		[]byte(`{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"` + s.text + `"}`),
		[]byte(`{"__enc__":"` + s.text + `"}`),
	}
	for _, size := range []int{0, 1, 2, 3, 13, 14, 15, 16, 1_000, 10_000} {
		padding := strings.Repeat("x", size)
		items = append(items, object("padded", padding+s.text+padding))
	}
	return items
}

// alterations returns copies of a stored item, each with one letter or digit
// changed. The changes are spread over the whole text. The copies are still
// JSON.
func alterations(stored encsession.Item) []encsession.Item {
	const most = 24
	var all []encsession.Item
	for at, c := range stored {
		altered := bytes.Clone(stored)
		switch {
		case c == '0', c == 'A', c == 'a':
			altered[at]++
		case '0' < c && c <= '9', 'A' < c && c <= 'Z', 'a' < c && c <= 'z':
			// A digit of base64 or of hex stays one.
			altered[at]--
		default:
			continue
		}
		if json.Valid(altered) {
			all = append(all, altered)
		}
	}
	var spread []encsession.Item
	for i := range min(most, len(all)) {
		spread = append(spread, all[i*len(all)/min(most, len(all))])
	}
	return spread
}

// badItems returns texts with the secret that are not JSON in UTF-8.
func (s secret) badItems() []encsession.Item {
	return []encsession.Item{
		[]byte(s.text),
		[]byte(`{"cut":"` + s.text),
		[]byte(`{"content":"` + s.text + `"`),
		[]byte(`{` + s.text + `:1}`),
		[]byte(`{"content":` + s.text + `}`),
		[]byte(`{"content":"` + s.text + "\xff\"}"),
		[]byte(`{"` + s.text + "\xc3\x28\":1}"),
	}
}

// wantHidden ends the check if the secret can be found in the store.
func (h handle) wantHidden(s secret) {
	h.t.Helper()
	for i, stored := range h.raw().items(0) {
		if disguise, found := s.findIn(string(stored)); found {
			h.t.Fatalf("the secret %q is in item %d of the store, %s: %s", s.text, i, disguise, show(stored))
		}
	}
}

// wantNoTrace ends the check if the secret can be found in a value, however the
// value is printed.
func (t *tester) wantNoTrace(s secret, what string, value any) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if disguise, found := s.findIn(fmt.Sprintf(verb, value)); found {
			t.Fatalf("the secret %q is in %s, printed with %s, %s", s.text, what, verb, disguise)
		}
	}
}

// wantStored ends the check unless the store holds this number of items. It
// returns the items.
func (h handle) wantStored(want int) []encsession.Item {
	h.t.Helper()
	stored := h.raw().items(0)
	if len(stored) != want {
		h.t.Fatalf("the store holds %d items; want %d", len(stored), want)
	}
	return stored
}
