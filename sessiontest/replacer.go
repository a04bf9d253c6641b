package sessiontest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/encsession/encsession"
)

// In these checks the old items always come from GetItems, through fill and stored: a store may have changed white
// space, and what was added may then match nothing.

var replaceInPlace = check{
	name: "replace-in-place",
	rule: "ReplaceItems puts a new item in the place of the old one, and leaves its neighbours where they are.",
	harm: "Changing the key of a session, or sealing one that was not encrypted, shuffles the conversation.",
	run: func(t *tester) {
		n := numbered(0, 9)
		s := t.freshReplacer()
		stored := s.fill(n[1], n[2], n[3], n[4])
		s.replace(1, stored[1:2], n[6:7])
		s.again().want(n[1], n[6], n[3], n[4])
		s.replace(2, []encsession.Item{stored[3], stored[0]}, []encsession.Item{n[8], n[5]})
		s.want(n[5], n[6], n[3], n[8])
		s.add(n[9])
		s.want(n[5], n[6], n[3], n[8], n[9])
		s.wantPop(n[9])
		s.wantPop(n[8])
		s.want(n[5], n[6], n[3])
	},
}

var replaceRemoves = check{
	name: "replace-removes",
	rule: "ReplaceItems removes an old item whose new one is nil.",
	harm: "What has expired cannot be purged, and PopItem of EncryptedSession returns one item for ever.",
	run: func(t *tester) {
		n := numbered(0, 6)
		s := t.freshReplacer()
		stored := s.fill(n[1], n[2], n[3], n[4])
		s.replace(1, stored[1:2], []encsession.Item{nil})
		s.want(n[1], n[3], n[4])
		s.replace(2, []encsession.Item{stored[3], stored[2]}, []encsession.Item{nil, n[5]})
		s.want(n[1], n[5])
		s.add(n[6])
		s.want(n[1], n[5], n[6])
		all := s.items(0)
		s.replace(len(all), all, make([]encsession.Item, len(all)))
		s.want()
		s.wantPop(nil)
		s.add(n[0])
		s.want(n[0])
	},
}

var replaceUnmatched = check{
	name: "replace-unmatched",
	rule: "ReplaceItems passes over pairs without a match, and does not count them.",
	harm: "A client takes an item for its own that another one was faster to change or to remove.",
	run: func(t *tester) {
		n := numbered(0, 9)
		s := t.freshReplacer()
		absent := t.stored(n[7], n[8])
		s.replace(0, absent, []encsession.Item{n[9], nil})
		s.want()
		stored := s.fill(n[1], n[2], n[3])
		s.replace(0, nil, nil)
		s.replace(0, absent, []encsession.Item{n[9], nil})
		s.replace(0, []encsession.Item{nil, {}}, []encsession.Item{n[9], nil})
		s.want(n[1], n[2], n[3])
		s.replace(1, []encsession.Item{absent[0], stored[1], absent[1]}, []encsession.Item{n[9], n[5], nil})
		s.want(n[1], n[5], n[3])
		s.replace(0, stored[1:2], n[6:7]) // replaced already
		s.want(n[1], n[5], n[3])
	},
}

var replaceNewest = check{
	name: "replace-newest",
	rule: "Each old item matches at most one stored item: the newest equal one that no earlier pair has matched.",
	harm: "Taking back the last of two equal messages takes back the first, or both.",
	run: func(t *tester) {
		n := numbered(0, 9)
		s := t.freshReplacer()
		stored := s.fill(n[1], n[2], n[1], n[3], n[1])
		twin := stored[0]
		s.replace(1, []encsession.Item{twin}, n[4:5])
		s.want(n[1], n[2], n[1], n[3], n[4])
		s.replace(2, []encsession.Item{twin, twin, twin}, n[5:8])
		s.want(n[6], n[2], n[5], n[3], n[4])

		s.clear()
		s.add(n[1], n[2], n[1])
		s.replace(1, []encsession.Item{twin}, []encsession.Item{nil})
		s.want(n[1], n[2])
	},
}

var replaceSnapshot = check{
	name: "replace-snapshot",
	rule: "ReplaceItems matches all pairs against the items as they were before the call.",
	harm: "Items that change places, or are moved up by one, are all overwritten by the same one.",
	run: func(t *tester) {
		n := numbered(0, 3)
		s := t.freshReplacer()
		stored := t.stored(n[1], n[2])
		for _, c := range []struct{ before, after []encsession.Item }{
			{n[1:2], n[2:3]},
			{n[1:3], n[2:4]},
			{[]encsession.Item{n[2], n[1]}, []encsession.Item{n[3], n[2]}},
		} {
			s.add(c.before...)
			s.replace(len(c.before), stored, n[2:4])
			s.want(c.after...)
			s.clear()
		}
		s.add(n[1], n[2])
		s.replace(2, stored, []encsession.Item{n[2], n[1]})
		s.want(n[2], n[1])
	},
}

var replaceBytes = check{
	name: "replace-bytes",
	rule: "ReplaceItems compares bytes, as GetItems returned them: not collated text and not JSON values.",
	harm: "A message is replaced or removed in place of another one that differs by a capital or an accent.",
	run: func(t *tester) {
		alike := []encsession.Item{
			[]byte(`{"n":1,"text":"cafe"}`),
			[]byte(`{"n":1,"text":"CAFE"}`),
			[]byte(`{"n":1,"text":"café"}`),
			[]byte(`{"n":1,"text":"cafe\u0301"}`),
			[]byte("{\"n\":1,\"text\":\"cafe\u0301\"}"),
			[]byte(`{"n":1,"text":"cafe "}`),
			[]byte(`{"n":1,"text":"caf_"}`),
			[]byte(`{"n":1,"text":"caf%"}`),
			[]byte(`{"n":1.0,"text":"cafe"}`),
			[]byte(`{"n":1e0,"text":"cafe"}`),
			[]byte(`{"n":1,"text":"\u0063afe"}`),
			[]byte(`{"text":"cafe","n":1}`),
			[]byte(`{"n": 1, "text": "cafe"}`),
			[]byte(`{ "n":1,"text":"cafe"}`),
			[]byte(`{"n":1,"text":"cafe"} `),
			[]byte(`{"n":1,"text":"cafe"}` + "\n"),
		}
		s := t.freshReplacer()
		other := object("another", "item")
		for _, item := range alike {
			stored := s.fill(item)[0]
			for _, old := range alike {
				if string(old) != string(stored) {
					s.replace(0, []encsession.Item{old}, []encsession.Item{other})
				}
			}
			s.replace(1, []encsession.Item{stored}, []encsession.Item{other})
			s.want(other)
			s.clear()
		}
	},
}

var replaceAllOrNothing = check{
	name: "replace-all-or-nothing",
	rule: "Slices of unequal length, and a new item that is neither nil nor JSON, are an error and change nothing.",
	harm: "A change of keys that fails halfway leaves a session that no key opens, or removes what it was to change.",
	run: func(t *tester) {
		n := numbered(0, 9)
		s := t.freshReplacer()
		stored := s.fill(n[1], n[2], n[3])
		absent := t.stored(n[7])
		refused := func(old, new []encsession.Item) {
			t.Helper()
			if changed, err := s.tryReplace(old, new); err == nil || errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("ReplaceItems gives %d, %v for old items %q and new items %q", changed, err, old, new)
			}
			s.want(n[1], n[2], n[3])
		}
		refused(stored, n[4:6])
		refused(stored[:1], n[4:6])
		refused(stored, nil)
		refused(nil, n[4:5])
		for _, bad := range notJSON() {
			refused(stored[:1], []encsession.Item{bad})
			refused(absent, []encsession.Item{bad})
			for at := range stored {
				refused(stored, slices.Replace(numbered(4, 6), at, at+1, bad))
			}
		}
	},
}

var replaceMany = check{
	name: "replace-many",
	rule: "ReplaceItems takes as many pairs as it is given.",
	harm: "The key of a long conversation cannot be changed, or only that of a part of it.",
	run: func(t *tester) {
		s := t.freshReplacer()
		old := s.fill(numbered(1, 600)...)
		new := numbered(601, 1_200)
		var want []encsession.Item
		for i := range new {
			if i%3 == 0 {
				new[i] = nil
			} else {
				want = append(want, new[i])
			}
		}
		slices.Reverse(old) // each pair finds its place whatever the order of the pairs
		slices.Reverse(new)
		s.replace(len(old), old, new)
		s.want(want...)
	},
}

var replaceCopied = check{
	name: "replace-copied",
	rule: "Slices that are passed to ReplaceItems are not changed, and not kept after it returns.",
	harm: "A caller that uses its buffer again changes what was said before.",
	run: func(t *tester) {
		n := numbered(1, 5)
		s := t.freshReplacer()
		stored := s.fill(n[:3]...)
		old, new := cloneAll(stored[1:]), cloneAll(n[3:])
		s.replace(2, old, new)
		t.wantSame("ReplaceItems changed the old items", old, stored[1:])
		t.wantSame("ReplaceItems changed the new items", new, n[3:])
		scribble(old)
		scribble(new)
		s.want(n[0], n[3], n[4])
	},
}

var replaceIsolated = check{
	name: "replace-isolated",
	rule: "ReplaceItems changes nothing in another session, even where an equal item lies there.",
	harm: "A message that two users have both sent is changed in the conversation of the other.",
	run: func(t *tester) {
		t.freshReplacer()
		equal := object("the same", "in all sessions")
		held := t.heldSessions()
		// The second time the other way round: what is changed too early is seen, what is changed too late is not.
		for range 2 {
			for _, s := range held {
				s.clear()
				s.add(equal)
			}
			for _, s := range held {
				s.want(equal)
				s.replace(1, s.items(0), []encsession.Item{s.mark("replaced")})
			}
			for _, s := range held {
				s.want(s.mark("replaced"))
			}
			slices.Reverse(held)
		}
		for _, s := range held {
			s.clear()
		}
	},
}

var replaceConcurrent = check{
	name: "replace-concurrent",
	rule: "Of concurrent ReplaceItems of one item exactly one matches it, and what that one put there stays.",
	harm: "Two workers both believe that they have taken the message, and both answer it.",
	run: func(t *tester) {
		s := t.freshReplacer()
		for range 10 {
			stored := s.fill(numbered(1, 3)...)
			var won collection
			s.concurrently(func(writer int, s handle) error {
				mine := numbered(100+writer, 100+writer)
				changed, err := s.tryReplace(stored[1:2], mine)
				if changed > 0 {
					won.add(mine...)
				}
				return err
			})
			if len(won.items) != 1 {
				t.Fatalf("%d of %d concurrent ReplaceItems of one item matched it; want 1", len(won.items), writers)
			}
			s.want(stored[0], won.items[0], stored[2])
			s.clear()
		}
	},
}

var replaceMix = check{
	name: "replace-mix",
	rule: "Concurrent ReplaceItems, AddItems and PopItem neither lose nor double an item.",
	harm: "While a conversation is sealed or purged, a message that arrives is gone, or one taken back is there again.",
	run: func(t *tester) {
		const rounds = 4
		s := t.freshReplacer()
		var found, want collection
		// Every writer adds before it pops, so that no pop comes down to these. They are replaced from the newest to the
		// oldest.
		all := s.fill(numbered(1, writers*rounds*2)...)
		added := t.stored(numbered(1_001, 1_000+writers*rounds*2)...)
		absent := t.stored(numbered(2_000, 2_000)...)[0]
		s.concurrently(func(writer int, s handle) error {
			for turn := (writer+1)*rounds - 1; turn >= writer*rounds; turn-- {
				// The items of a turn are of no other.
				mine, new := all[2*turn:][:2], added[2*turn:][:2]
				swapped := numbered(3_001+2*turn, 3_002+2*turn)
				if err := s.tryAdd(new...); err != nil {
					return err
				}
				changed, err := s.tryReplace(
					[]encsession.Item{mine[0], mine[1], new[1], absent},
					[]encsession.Item{swapped[0], nil, swapped[1], absent},
				)
				switch {
				case err != nil:
					return err
				case changed == 3:
					want.add(swapped[0], new[0], swapped[1])
				case changed == 2: // another writer has popped it
					want.add(swapped[0], new[0], new[1])
				default:
					return fmt.Errorf("ReplaceItems says that it matched %d pairs; want 2 or 3", changed)
				}
				item, err := s.tryPop()
				if item == nil {
					return errors.Join(errors.New("PopItem returns nothing"), err)
				}
				found.add(item)
			}
			return nil
		})
		found.add(s.items(0)...)
		s.wantEqual("what PopItem returned, and what is left", found.inOrder(), want.inOrder())
	},
}
